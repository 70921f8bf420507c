"""What every algorithm does: ask for a generation's individuals, be told their fitness.

Numbers are NumPy arrays of float64 on the CPU; torch appears only where a checkpoint is written. Evolution strategies
read and write `population.parameters`, p × d, which networks of a fixed shape offer. Every rank holds the whole
population and the whole algorithm, and computes the same from the same fitness; so random numbers must come from
`common.ne.random_numbers` alone, keyed by the seed, the generation and the purpose.

Axes: p individuals; d parameters of an individual.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64

from common.errors import ConfigError
from common.ne.population.base import BasePopulation
from common.ne.population.networks.base import Arrays
from common.utils.beartype import shape_checked


class BaseAlgorithm(ABC):
    """Turns fitness into the next generation. Larger fitness is better.

    Args:
        config: The algorithm's own settings.

    Attributes:
        needs_parameters: Whether it works on `population.parameters`, which networks that grow do not have.
    """

    needs_parameters: ClassVar[bool] = False

    population: BasePopulation
    seed: int

    def __init__(self, config: Any) -> None:
        self.config = config

    def start(self, population: BasePopulation, seed: int) -> None:
        """Remembers population and seed, and draws the initial individuals or the initial distribution.

        Args:
            population: Holds initial individuals already, drawn from the seed.
            seed: The run's seed.

        Raises:
            ConfigError: population and settings do not fit together; this is found out before a run begins.
        """
        if self.needs_parameters and not population.has_parameters:
            raise ConfigError(
                f"{type(self).__name__} moves a fixed number of parameters, and these networks grow and shrink. Choose "
                "algorithm=simple_ga, or other population/networks."
            )
        self.population = population
        self.seed = seed

    @abstractmethod
    def ask(self, generation: int) -> None:
        """Writes a generation's individuals into the population.

        Args:
            generation: From 0.
        """

    @abstractmethod
    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        """Takes the fitness of the individuals that `ask` has written, and selects or updates.

        Args:
            fitness: As evaluated; may hold NaN, which counts as the worst.
        """

    @shape_checked
    def center(self) -> Float64[np.ndarray, " d"] | None:
        """Returns the mean of the search distribution, which is a candidate for the champion; None where there is none.

        It is asked for after `tell`.
        """
        return None

    def welcome(self, champion: Arrays) -> None:  # noqa: B027  # Those that move a distribution have no place for it.
        """Is shown the champion, an individual, once it is known; after `tell`."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next generation depends on besides the population, as tensors and plain values.

        A checkpoint must be readable with `torch.load(weights_only=True)`: arrays go in as `torch.from_numpy(array)`.
        """

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned; `start` was called before."""

    def metrics(self) -> dict[str, float]:
        """Returns what is worth a column in `metrics.csv`, such as `sigma`; asked for after `tell`."""
        return {}
