"""The Lightning module: a classifier that knows how an MNIST image is looked at."""

from torch import Tensor

from common.dl.litmodule.classification import BaseClassificationLitModule
from projects.classify_mnist.datamodule import MEAN, STD


class MNISTClassificationLitModule(BaseClassificationLitModule):
    """Classifies handwritten digits."""

    def view_input(self, value: Tensor) -> Tensor:
        """Undoes the normalisation: 1×28×28 becomes 28×28 in [0, 1]."""
        return (value[0] * STD + MEAN).clamp(0, 1)
