"""What a Lightning module holds and a checkpoint of Lightning's lacks, and how a failed batch is taken back."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule
from torch import nn
from torchmetrics import Metric

from common.foreign.torchmetrics import get_state, set_state


def get_module_states(module: nn.Module, *, with_gradients: bool) -> dict[str, Any]:
    """Returns what metrics have accumulated, which parameters are frozen, and which parts are not in training mode.

    Args:
        module: The Lightning module.
        with_gradients: Whether gradients wait for further batches, and belong to its state.
    """
    parameters = dict(module.named_parameters())
    return {
        "metrics": {name: get_state(metric) for name, metric in module.named_modules() if isinstance(metric, Metric)},
        "frozen": [name for name, parameter in parameters.items() if not parameter.requires_grad],
        "evaluating": [name for name, part in module.named_modules() if not part.training],
        "gradients": {
            name: parameter.grad
            for name, parameter in parameters.items()
            if with_gradients and parameter.grad is not None
        },
    }


def set_module_states(module: nn.Module, states: Mapping[str, Any]) -> None:
    """Restores what `get_module_states` returned."""
    for name, part in module.named_modules():
        part.training = name not in states["evaluating"]
        if isinstance(part, Metric) and name in states["metrics"]:
            set_state(part, states["metrics"][name])
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name not in states["frozen"]
        gradient = states["gradients"].get(name)
        parameter.grad = None if gradient is None else gradient.to(parameter)


class StepUndo:
    """Takes back what a forward pass changes: buffers, what metrics have accumulated, and counters.

    Walking through a module takes longer than copying its buffers, so it is walked through once.

    Args:
        module: Gets no further buffers and metrics while this is used.

    Attributes:
        is_possible: Whether nothing else was changed: gradients that were waiting are not copied.
    """

    def __init__(self, module: LightningModule) -> None:
        self._module: Any = module
        self._buffers = list(module.buffers())
        self._metrics = [metric for metric in module.modules() if isinstance(metric, Metric)]
        self.take(is_accumulating=False)

    def take(self, *, is_accumulating: bool) -> None:
        """Notes how everything is now.

        Args:
            is_accumulating: Whether gradients wait for further batches.
        """
        self.is_possible = not is_accumulating
        self._counters = self._module.counters() if hasattr(self._module, "counters") else {}  # As `BaseLitModule` has.
        self._values = [buffer.clone() for buffer in self._buffers]
        # A metric without updates is as `reset` leaves it.
        self._states = [get_state(metric) if metric.update_count else None for metric in self._metrics]

    def put_back(self) -> None:
        """Makes everything as it was when `take` was called last."""
        if hasattr(self._module, "set_counters"):
            self._module.set_counters(self._counters)
        for buffer, value in zip(self._buffers, self._values, strict=True):
            buffer.copy_(value)
        for metric, state in zip(self._metrics, self._states, strict=True):
            metric.reset()
            if state is not None:
                set_state(metric, state)
