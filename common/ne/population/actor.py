"""Actors: individuals that turn observations into actions.

Axes: p individuals; n episodes, each played by one individual; o numbers of an observation; m numbers of memory;
x outputs of a network.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float, Float64
from typing_extensions import override

from common.ne.population.base import BasePopulation
from common.ne.population.networks.base import Arrays, BaseNetworks
from common.ne.population.spaces import Spaces
from common.ne.random_numbers import generator
from common.utils.beartype import ge, shape_checked

ObservationKind = Literal["raw", "scaled", "standardized"]

MIN_STD = 1e-4
"""Least standard deviation by which an observation is divided."""


@dataclass
class ActorsConfig:
    """Configures a population of actors.

    Attributes:
        size: Number of individuals.
        observations: What networks are shown: observations as they are (`raw`), those with two bounds mapped to
            [−1, 1] (`scaled`), or all brought to mean 0 and standard deviation 1, as measured in all episodes so far
            of the whole population (`standardized`).
    """

    size: Annotated[int, ge(1)] = 256
    observations: ObservationKind = "raw"


@dataclass
class ObservationStatistics:
    """What was seen in all generations so far; for `standardized`.

    Attributes:
        count: Observations seen.
        mean: Their mean, o numbers.
        square: The sum of their squared distances from the mean, o numbers.
    """

    count: float
    mean: np.ndarray
    square: np.ndarray

    def add(self, counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
        """Takes up further observations (Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance").

        Args:
            counts: Observations of each episode, n.
            sums: Their sums, n × o.
            squares: Sums of their squares, n × o.
        """
        count = float(counts.sum())
        if count == 0:
            return
        mean = sums.sum(axis=0) / count
        square = np.maximum(squares.sum(axis=0) - count * mean**2, 0.0)
        total = self.count + count
        distance = mean - self.mean
        self.square = self.square + square + distance**2 * self.count * count / total
        self.mean = self.mean + distance * count / total
        self.count = total

    @property
    def std(self) -> np.ndarray:
        """The standard deviation, o numbers; 1 where nothing was seen."""
        if self.count == 0:
            return np.ones_like(self.mean)
        return np.maximum(np.sqrt(self.square / self.count), MIN_STD)


class Actors(BasePopulation):
    """A population of actors. Besides what its network has, each holds how it sees observations.

    Args:
        config: Size, and how observations are shown.
        networks: Builds the kind of network.
        spaces: Of the environment.
        seed: The run's seed, from which the initial individuals follow.
    """

    def __init__(self, config: ActorsConfig, networks: partial[BaseNetworks], spaces: Spaces, seed: int) -> None:
        self.config = config
        self.spaces = spaces
        self.networks = networks(num_inputs=spaces.num_inputs, num_outputs=spaces.num_outputs)
        zeros = np.zeros(spaces.num_inputs)
        self.statistics = ObservationStatistics(0.0, zeros, zeros)
        self.arrays = self.networks.draw(config.size, generator(seed, 0, "initial"))
        self._show(*_bounds_as_scale(spaces) if config.observations == "scaled" else (zeros, zeros + 1))

    @override
    @property
    def has_parameters(self) -> bool:
        return self.networks.has_parameters

    @property
    def has_statistics(self) -> bool:
        """Whether observations must be added up while individuals are evaluated."""
        return self.config.observations == "standardized"

    @override
    def mutate(self, first: int, rng: np.random.Generator) -> None:
        self.networks.mutate(self.arrays, first, rng)

    def individual(self, parameters: np.ndarray) -> Arrays:
        """Returns one individual with the given parameters, d numbers, which otherwise is like the first."""
        arrays = {name: array[:1].copy() for name, array in self.arrays.items()}
        return arrays | {"parameters": parameters[None].copy()}

    def take_up(self, counts: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
        """Adds a generation's observations to the statistics, by which the next generation sees; see `add`."""
        self.statistics.add(counts, sums, squares)
        self._show(self.statistics.mean, 1 / self.statistics.std)

    def metrics(self) -> dict[str, float]:
        """Returns what is worth a column in `metrics.csv`."""
        return {"diversity": self.networks.diversity(self.arrays), **self.networks.metrics(self.arrays)}

    def state_dict(self) -> dict[str, Any]:
        """Returns everything, as tensors and plain values."""
        import torch

        statistics = self.statistics
        return {
            "arrays": {name: torch.from_numpy(array) for name, array in self.arrays.items()},
            "count": statistics.count,
            "mean": torch.from_numpy(statistics.mean),
            "square": torch.from_numpy(statistics.square),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.arrays = {name: tensor.numpy().copy() for name, tensor in state["arrays"].items()}
        self.statistics = ObservationStatistics(state["count"], state["mean"].numpy(), state["square"].numpy())

    def _show(self, shift: np.ndarray, scale: np.ndarray) -> None:
        size = self.config.size
        self.arrays |= {"shift": np.tile(shift, (size, 1)), "scale": np.tile(scale, (size, 1))}


@shape_checked
def network_inputs(arrays: Arrays, observations: Float[np.ndarray, "n o"]) -> Float64[np.ndarray, "n o"]:
    """Returns what each episode's network is shown.

    Args:
        arrays: The individual of each episode.
        observations: As the environment gives them.
    """
    return (observations - arrays["shift"]) * arrays["scale"]


def _bounds_as_scale(spaces: Spaces) -> tuple[np.ndarray, np.ndarray]:
    """Returns what to take away from observations, and to multiply them with then; nothing where a bound is missing."""
    low, high = spaces.observation_low, spaces.observation_high
    has_bounds = np.isfinite(low) & np.isfinite(high) & (high > low) & (high - low < 1e6)
    low, high = np.where(has_bounds, low, -1.0), np.where(has_bounds, high, 1.0)
    return (low + high) / 2, 2 / (high - low)
