"""An exponential moving average of a network's parameters."""

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialAverage(AveragedModel):
    """A copy of a network whose parameters follow the network's: p̄ ← d·p̄ + (1 − d)·p.

    The decay d rises from 0.1 to the given one, as (1 + n) / (10 + n) after n updates, so that the copy soon forgets
    the parameters that the network began with.

    Attributes:
        module: The copy; its parameters ask for no gradient.

    Args:
        network: The network to follow.
        decay: The final d.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, avg_fn=self._average)
        self.decay = decay
        self.requires_grad_(requires_grad=False)

    def _average(self, averaged: Tensor, current: Tensor, num_updates: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + float(num_updates)) / (10 + float(num_updates)))
        return averaged.lerp(current, 1 - decay)
