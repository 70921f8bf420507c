"""PGPE: policy gradients with parameter-based exploration, with symmetric samples and ClipUp.

Source: Sehnke et al. 2010, "Parameter-exploring policy gradients", section 3.3; ClipUp from Toklu, Liskowski and
Srivastava 2020. Reference implementations: `PGPE` in github.com/nnaisense/evotorch, and in
github.com/RobertTLange/evosax. As in both, fitness is ranked, and a standard deviation changes by a bounded share at a
time, so it stays positive.

Axes: p individuals.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.ne.algorithm.ascent import ClipUp
from common.ne.algorithm.gaussian import GaussianStrategy, weighted_sum
from common.ne.algorithm.shaping import centered_ranks
from common.ne.population.base import BasePopulation
from common.utils.beartype import ge, gt, lt, shape_checked


@dataclass
class PGPEConfig:
    """Configures `PGPE`.

    Attributes:
        sigma: Standard deviation of every parameter in the first generation.
        lr: Length of ClipUp's step: how far the mean moves in the first generation.
        max_speed: Greatest distance that the mean moves in a generation.
        momentum: Share of the mean's last move that is kept.
        sigma_lr: Learning rate of the standard deviations.
        max_sigma_change: Greatest share by which a standard deviation changes in a generation.
    """

    sigma: Annotated[float, gt(0)] = 0.5
    lr: Annotated[float, gt(0)] = 0.15
    max_speed: Annotated[float, gt(0)] = 0.3
    momentum: Annotated[float, ge(0), lt(1)] = 0.9
    sigma_lr: Annotated[float, ge(0)] = 0.1
    max_sigma_change: Annotated[float, ge(0), lt(1)] = 0.2


class PGPE(GaussianStrategy):
    """See the module; of an odd population the last individual is the mean, from which nothing is learnt."""

    is_mirrored = True
    optimizer: ClipUp

    @override
    def start(self, population: BasePopulation, seed: int) -> None:
        super().start(population, seed)
        self.optimizer = ClipUp(len(self.mean), self.config.lr, self.config.max_speed, self.config.momentum)

    @override
    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        half = len(fitness) // 2
        utilities = centered_ranks(fitness[: 2 * half])
        plus, minus = utilities[:half], utilities[half:]
        offsets = self.sigma * self.noise[:half]
        mean_gradient = weighted_sum(plus - minus, offsets) / (2 * half)
        spread = (np.square(offsets) - np.square(self.sigma)) / self.sigma
        sigma_gradient = weighted_sum(plus + minus, spread) / (2 * half)  # The baseline, the mean utility, is 0.
        self.mean = self.mean + self.optimizer.step(mean_gradient)
        bound = self.config.max_sigma_change * self.sigma
        self.sigma = self.sigma + np.clip(self.config.sigma_lr * sigma_gradient, -bound, bound)
