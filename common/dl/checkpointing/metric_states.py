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


class StepUndo:
    """Takes back what a forward pass changes: buffers, and what metrics have accumulated.

    Walking through a module takes longer than copying its buffers, so it is walked through once.

    Args:
        module: Gets no further buffers and metrics while this is used.
    """

    def __init__(self, module: nn.Module) -> None:
        self._buffers = list(module.buffers())
        self._metrics = [metric for metric in module.modules() if isinstance(metric, Metric)]
        self.take()

    def take(self) -> None:
        """Notes how everything is now."""
        self._values = [buffer.clone() for buffer in self._buffers]
        # A metric without updates is as `reset` leaves it.
        self._states = [_copy_state(metric) if metric._update_count else None for metric in self._metrics]

    def put_back(self) -> None:
        """Makes everything as it was when `take` was called last."""
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)
        for metric, state in zip(self._metrics, self._states, strict=True):
            metric.reset()
            if state is not None:
                metric._update_count = state["num_updates"]
                for name, value in state["values"].items():
                    setattr(metric, name, value)


def _copy_state(metric: Metric) -> dict[str, Any]:
    values = {
        name: value.clone() if isinstance(value, Tensor) else list(value) for name, value in metric.metric_state.items()
    }
    return {"num_updates": metric._update_count, "values": values}
