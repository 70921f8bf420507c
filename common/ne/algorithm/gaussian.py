"""What evolution strategies share that search with a normal distribution of independent parameters.

Axes: p individuals; d parameters.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from typing_extensions import override

from common.errors import ConfigError
from common.ne.algorithm.ascent import Adam, ClipUp
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.population.base import BasePopulation
from common.ne.random_numbers import generator
from common.utils.beartype import shape_checked


class GaussianStrategy(BaseAlgorithm):
    """Asks for mean + standard deviation × noise, and moves both by what is told.

    The search starts around the first of the population's initial individuals. A subclass writes `tell`.

    Attributes:
        is_mirrored: Whether individuals come in pairs with opposite noise, the second half mirroring the first; of an
            odd population the last individual is the mean itself.
        mean: The mean of the search distribution, d.
        sigma: Its standard deviation for each parameter, d.
        noise: The current generation's standard normal numbers, p × d.
        optimizer: What moves the mean; None where that is the subclass's own business.
    """

    needs_parameters = True
    is_mirrored: ClassVar[bool] = False

    mean: np.ndarray
    sigma: np.ndarray
    noise: np.ndarray
    optimizer: Adam | ClipUp | None = None

    @override
    def start(self, population: BasePopulation, seed: int) -> None:
        super().start(population, seed)
        check_population_size(self, population.size, 2)
        self.mean = population.parameters[0].copy()
        self.sigma = np.full_like(self.mean, self.config.sigma)

    @override
    def ask(self, generation: int) -> None:
        self.noise = self._draw(generation)
        self.population.parameters = self.mean + self.sigma * self.noise

    @override
    @shape_checked
    def center(self) -> Float64[np.ndarray, " d"]:
        return self.mean.copy()

    @override
    def state_dict(self) -> dict[str, Any]:
        """Returns all that changes; complete between `tell` and the next `ask`."""
        state = {"mean": torch.from_numpy(self.mean.copy()), "sigma": torch.from_numpy(self.sigma.copy())}
        return state if self.optimizer is None else {**state, "optimizer": self.optimizer.state_dict()}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.sigma = state["mean"].numpy().copy(), state["sigma"].numpy().copy()
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])

    def metrics(self) -> dict[str, float]:
        """Returns the mean standard deviation."""
        return {"sigma": float(self.sigma.mean())}

    def _draw(self, generation: int) -> np.ndarray:
        size, num_parameters = self.population.size, len(self.mean)
        rng = generator(self.seed, generation, "sampling")
        if not self.is_mirrored:
            return rng.standard_normal((size, num_parameters))
        half = rng.standard_normal((size // 2, num_parameters))
        return np.concatenate((half, -half, np.zeros((size % 2, num_parameters))))


@shape_checked
def weighted_sum(weights: Float64[np.ndarray, " p"], rows: Float64[np.ndarray, "p d"]) -> Float64[np.ndarray, " d"]:
    """Returns the sum of weighted rows, added in their order; a library's matrix product depends on its threads."""
    total: np.ndarray = np.einsum("p,pd->d", weights, rows)
    return total


def check_population_size(algorithm: BaseAlgorithm, size: int, smallest: int) -> None:
    """Refuses a population that an algorithm cannot learn from.

    Raises:
        ConfigError: it is too small.
    """
    if size < smallest:
        name = type(algorithm).__name__
        raise ConfigError(
            f"{name} compares individuals: it needs a population of at least {smallest}, but got {size}. Set "
            f"population.config.size to {smallest} or more."
        )
