"""What an algorithm sees of a population.

Axes: p individuals; d parameters of an individual.
"""

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float64, Int64

from common.ne.population.networks.base import Arrays
from common.utils.beartype import shape_checked


class BasePopulation(ABC):
    """A fixed number of individuals, held in arrays along whose first axis they lie.

    Attributes:
        arrays: Everything that an individual consists of, by name; each array is p × something.
    """

    arrays: Arrays

    @property
    def size(self) -> int:
        """Number of individuals, p."""
        return len(next(iter(self.arrays.values())))

    @property
    @abstractmethod
    def has_parameters(self) -> bool:
        """Whether all individuals have the same parameters, so that `parameters` exists."""

    @property
    @shape_checked
    def parameters(self) -> Float64[np.ndarray, "p d"]:
        """All parameters of all individuals; settable."""
        return self.arrays["parameters"]

    @parameters.setter
    def parameters(self, parameters: np.ndarray) -> None:
        assert parameters.shape == self.arrays["parameters"].shape
        self.arrays["parameters"] = np.ascontiguousarray(parameters, dtype=np.float64)

    @abstractmethod
    def mutate(self, first: int, rng: np.random.Generator) -> None:
        """Mutates the individuals from the index `first` on; those before it stay as they are."""

    def replace(self, index: int, individual: Arrays) -> None:
        """Puts the only individual of some arrays in the place of another."""
        for name, array in individual.items():
            self.arrays[name][index] = array[0]

    @shape_checked
    def select(self, indices: Int64[np.ndarray, " p"]) -> None:
        """Replaces the individuals by copies of those at the given indices; an index may come more than once."""
        self.arrays = {name: array[indices] for name, array in self.arrays.items()}
