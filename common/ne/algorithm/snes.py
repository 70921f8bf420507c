"""SNES: the natural gradient of a normal distribution with a standard deviation for each parameter.

Source: Schaul, Glasmachers and Schmidhuber 2011, "High dimensions and heavy tails for natural evolution strategies";
algorithm 6 of Wierstra et al. 2014, "Natural evolution strategies", with its default learning rates. Reference
implementations: `SNES` in github.com/pybrain/pybrain, by the authors, and in github.com/RobertTLange/evosax.

Axes: p individuals.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.ne.algorithm.gaussian import GaussianStrategy, weighted_sum
from common.ne.algorithm.shaping import nes_utilities
from common.utils.beartype import gt, shape_checked


@dataclass
class SNESConfig:
    """Configures `SNES`.

    Attributes:
        sigma: Standard deviation of every parameter in the first generation.
        lr: Learning rate of the mean.
        sigma_lr: Learning rate of the standard deviations; null: (3 + ln d) / (5 √d) for d parameters.
    """

    sigma: Annotated[float, gt(0)] = 0.5
    lr: Annotated[float, gt(0)] = 1.0
    sigma_lr: Annotated[float, gt(0)] | None = None


class SNES(GaussianStrategy):
    """See the module."""

    @override
    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        utilities = nes_utilities(fitness)
        size = len(self.mean)
        default_lr = (3 + math.log(size)) / (5 * math.sqrt(size))
        sigma_lr = default_lr if self.config.sigma_lr is None else self.config.sigma_lr
        self.mean = self.mean + self.config.lr * self.sigma * weighted_sum(utilities, self.noise)
        self.sigma = self.sigma * np.exp(sigma_lr / 2 * weighted_sum(utilities, np.square(self.noise) - 1))
