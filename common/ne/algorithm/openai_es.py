"""OpenAI-ES: the mean follows a finite-difference estimate of the gradient of the smoothed fitness.

Source: Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning", algorithm 1
with mirrored noise, centred ranks, weight decay and Adam, as in the reference implementation
github.com/openai/evolution-strategies-starter. We differ: noise is drawn for each generation anew, where the reference
takes slices of one table; and the standard deviation may shrink, as in github.com/hardmaru/estool.

Axes: p individuals.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.ne.algorithm.ascent import Adam
from common.ne.algorithm.gaussian import GaussianStrategy, weighted_sum
from common.ne.algorithm.shaping import centered_ranks
from common.ne.population.base import BasePopulation
from common.utils.beartype import ge, gt, le, shape_checked


@dataclass
class OpenAIESConfig:
    """Configures `OpenAIES`.

    Attributes:
        sigma: Standard deviation of the noise in the first generation.
        sigma_decay: What it is multiplied by after each generation; 1: it stays.
        min_sigma: Where it stops shrinking.
        lr: Adam's step size, about how far a parameter moves in a generation.
        weight_decay: How strongly parameters are pulled to 0: times the parameter, taken off the gradient.
    """

    sigma: Annotated[float, gt(0)] = 0.1
    sigma_decay: Annotated[float, gt(0), le(1)] = 1.0
    min_sigma: Annotated[float, gt(0)] = 1e-8
    lr: Annotated[float, gt(0)] = 0.05
    weight_decay: Annotated[float, ge(0)] = 0.0


class OpenAIES(GaussianStrategy):
    """See the module; of an odd population the last individual is the mean."""

    is_mirrored = True
    optimizer: Adam

    @override
    def start(self, population: BasePopulation, seed: int) -> None:
        super().start(population, seed)
        self.optimizer = Adam(len(self.mean), self.config.lr)

    @override
    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        gradient = weighted_sum(centered_ranks(fitness), self.noise) / (len(fitness) * self.sigma)
        self.mean = self.mean + self.optimizer.step(gradient - self.config.weight_decay * self.mean)
        self.sigma = np.maximum(self.sigma * self.config.sigma_decay, min(self.config.min_sigma, self.config.sigma))
