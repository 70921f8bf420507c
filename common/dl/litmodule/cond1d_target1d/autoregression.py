"""Fits conditional autoregressive models."""

from torch import Generator, Tensor, nn

from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAM
from common.dl.litmodule.cond1d_target1d.base import BaseCond1DTarget1DLitModule


class AutoregressionLitModule(BaseCond1DTarget1DLitModule):
    """Fits a `CDAM` or a `CGAM` to the true past, and predicts free-running."""

    nnmodule: BaseCAM

    def compute_loss(
        self, network: nn.Module, condition: Tensor, target: Tensor, generator: Generator | None
    ) -> Tensor:
        """Returns the model's own loss, given the true past; nothing is drawn."""
        assert isinstance(network, BaseCAM)
        return network.loss(network(condition, target), target)

    def draw(self, network: nn.Module, condition: Tensor, generator: Generator) -> Tensor:
        """Runs the model freely."""
        assert isinstance(network, BaseCAM)
        return network.generate(condition, generator)
