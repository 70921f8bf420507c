"""The conditional discriminative autoregressive model.

Axes: see `base.py`.
"""

from torch import Generator, Tensor
from torch.nn import functional

from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAM


class CDAM(BaseCAM):
    """Predicts one target, fitted by the mean squared error.

    Args:
        config: See the config's own fields.
        model_partial: Makes the backbone.
    """

    @property
    def num_outputs(self) -> int:
        """The target's own numbers."""
        return self.config.target_size

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Returns the mean squared error."""
        return functional.mse_loss(outputs, target)

    def draw(self, outputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Returns the outputs, which are the prediction."""
        return outputs
