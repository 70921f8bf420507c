"""The states of torchmetrics, which Lightning leaves out of a checkpoint."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
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


def get_module_states(module: nn.Module) -> dict[str, Any]:
    """Returns a copy of what a forward pass may change: the buffers, and what the metrics have accumulated."""
    metrics = get_metric_states(module)
    for metric in metrics.values():
        metric["state"] = {name: _copied(value) for name, value in metric["state"].items()}
    return {"buffers": {name: buffer.clone() for name, buffer in module.named_buffers()}, "metrics": metrics}


def set_module_states(module: nn.Module, states: Mapping[str, Any]) -> None:
    """Restores what `get_module_states` returned."""
    for name, buffer in module.named_buffers():
        if name in states["buffers"]:
            buffer.copy_(states["buffers"][name])
    set_metric_states(module, states["metrics"])


def _copied(value: Tensor | list[Tensor]) -> Tensor | list[Tensor]:
    return value.clone() if isinstance(value, Tensor) else list(value)
