"""The states of torchmetrics, which Lightning leaves out of a checkpoint."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchmetrics import Metric


def get_metric_states(module: nn.Module) -> dict[str, Any]:
    """Returns what every metric in a module has accumulated, by its name."""
    return {
        name: {"num_updates": metric._update_count, "state": dict(metric.metric_state)}
        for name, metric in module.named_modules()
        if isinstance(metric, Metric)
    }


def set_metric_states(module: nn.Module, states: Mapping[str, Any]) -> None:
    """Restores what `get_metric_states` returned."""
    for name, metric in module.named_modules():
        if isinstance(metric, Metric) and name in states:
            metric._update_count = states[name]["num_updates"]
            for key, value in states[name]["state"].items():
                setattr(metric, key, value)
