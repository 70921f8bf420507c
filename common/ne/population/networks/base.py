"""What every kind of network offers: to be drawn, mutated, and run for many individuals at once.

A network object has no individuals. They are arrays, by name, with the individuals along the first axis, and are passed
in: so any set of individuals can be run, copied, stored or joined with another.

Whoever adds a kind gives it a compiled form in `compiled.py`, or returns None from `for_kernel`.

Axes: p individuals; n episodes, each played by one individual; i inputs; x outputs; m numbers of memory.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float64

from common.utils.beartype import shape_checked

Arrays = dict[str, np.ndarray]
"""What individuals consist of, by name; each array holds the individuals along its first axis."""


LAYERED, DYNAMIC = 0, 1
"""The kinds of networks that have a compiled form."""


class KernelArrays(NamedTuple):
    """Individuals as the compiled rollout takes them: of the same types for all kinds of networks.

    Attributes:
        kind: Which function of `compiled.py` runs them.
        numbers: float64, p × any.
        indices: int64, p × any.
        table: int64, any × any: what all individuals have in common.
        num_units: How many numbers the widest layer, or all nodes together, give on.
    """

    kind: int
    numbers: np.ndarray
    indices: np.ndarray
    table: np.ndarray
    num_units: int


def taken(arrays: Arrays, indices: Any) -> Arrays:
    """Returns the individuals at some indices, as copies."""
    return {name: array[indices] for name, array in arrays.items()}


def joined(parts: list[Arrays]) -> Arrays:
    """Returns several sets of individuals as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class BaseNetworks(ABC):
    """One kind of network.

    Args:
        config: The kind's own settings.
        num_inputs: Numbers that come in, i.
        num_outputs: Numbers that go out, x.

    Attributes:
        has_parameters: Whether all individuals have the same parameters, in the array `parameters`, p × d.
        carries_memory: Whether an individual keeps something of its episodes; see `carry`.
    """

    has_parameters: ClassVar[bool] = False
    carries_memory: ClassVar[bool] = False

    def __init__(self, config: Any, num_inputs: int, num_outputs: int) -> None:
        self.config = config
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs

    @abstractmethod
    def draw(self, size: int, rng: np.random.Generator) -> Arrays:
        """Returns initial individuals."""

    @abstractmethod
    def mutate(self, arrays: Arrays, first: int, rng: np.random.Generator) -> None:
        """Mutates, in place, the individuals from the index `first` on."""

    @abstractmethod
    @shape_checked
    def start_memory(self, arrays: Arrays) -> Float64[np.ndarray, "n m"]:
        """Returns what networks remember before an episode.

        Args:
            arrays: The individual of each episode.
        """

    @abstractmethod
    @shape_checked
    def forward(
        self, arrays: Arrays, memory: Float64[np.ndarray, "n m"], inputs: Float64[np.ndarray, "n i"]
    ) -> Float64[np.ndarray, "n x"]:
        """Runs one step of each episode's network. What an episode gets does not depend on the others.

        Args:
            arrays: The individual of each episode.
            memory: Of each episode; changed in place.
            inputs: Of each episode.
        """

    @abstractmethod
    def for_kernel(self, arrays: Arrays) -> KernelArrays | None:
        """Returns individuals as the compiled rollout takes them; None for a kind that has no compiled form."""

    @property
    def layout(self) -> list[int]:
        """What tells where in the arrays of an individual something lies, where their shapes do not."""
        return []

    def carry(self, arrays: Arrays, memory: np.ndarray) -> None:  # noqa: B027  # Most kinds keep nothing.
        """Lets individuals keep, in place, something of their first episode's memory, p × m, at its end."""

    def metrics(self, arrays: Arrays) -> dict[str, float]:
        """Returns what is worth a column in `metrics.csv`, such as the mean mutation strength."""
        return {}

    @abstractmethod
    def diversity(self, arrays: Arrays) -> float:
        """Returns how much individuals differ: the standard deviation over the population, averaged over parameters."""
