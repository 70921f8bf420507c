"""What an environment's batched physics offers: many episodes at once, each a row.

Bit for bit what gymnasium's own environment computes one episode at a time, at the precision in which that computes:
`start` stands for `reset`, `step` for `step`, `observe` for the observation that both return. Time limits are the
caller's: `max_steps` steps and no more.

Axes: n episodes; state numbers of an episode's state; obs numbers of an observation; u numbers drawn for a seed.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt64

from common.ne.random_numbers import GOLDEN, mixed
from common.utils.beartype import shape_checked


class Physics(ABC):
    """One environment's dynamics. Its methods depend on their arguments alone, and change none of them.

    Attributes:
        name: The environment's id in gymnasium.
        observation_size: Numbers of an observation.
        num_actions: Number of discrete actions, counted from 0; None where an action is one bounded number.
        action_low: The least action, 1 number; None where actions are discrete.
        action_high: The greatest action, 1 number; None where actions are discrete.
        max_steps: Steps after which gymnasium ends an episode.
        state_size: Numbers of a state.
    """

    name: ClassVar[str]
    observation_size: ClassVar[int]
    num_actions: ClassVar[int | None] = None
    action_low: ClassVar[np.ndarray | None] = None
    action_high: ClassVar[np.ndarray | None] = None
    max_steps: ClassVar[int]
    state_size: ClassVar[int]

    @abstractmethod
    @shape_checked
    def start(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, "n state"]:
        """Returns start states, each a function of its seed alone, distributed as those of gymnasium's `reset`."""

    @abstractmethod
    @shape_checked
    def observe(self, states: Float64[np.ndarray, "n state"]) -> Float32[np.ndarray, "n obs"]:
        """Returns what gymnasium's environment shows of these states."""

    @abstractmethod
    @shape_checked
    def step(
        self,
        states: Float64[np.ndarray, "n state"],
        actions: Int64[np.ndarray, " n"] | Float32[np.ndarray, "n 1"],
    ) -> tuple[Float64[np.ndarray, "n state"], Float64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Plays one step.

        Args:
            states: None of a terminated episode.
            actions: Whole numbers from 0 where actions are discrete, otherwise at the precision of gymnasium's action
                space; those outside its bounds are treated as gymnasium does.

        Returns:
            The next states, the rewards, and which episodes have terminated.
        """


@shape_checked
def uniform(seeds: UInt64[np.ndarray, " n"], size: int) -> Float64[np.ndarray, "n u"]:
    """Returns numbers in [0, 1), uniform at the spacing of 2⁻⁵³, each a function of its seed and its column.

    Args:
        seeds: Any; similar seeds give unrelated numbers.
        size: Numbers per seed, u.
    """
    columns = np.arange(1, size + 1, dtype=np.uint64)
    words = mixed(mixed(seeds)[:, None] + GOLDEN * columns)
    return (words >> np.uint64(11)) * 2.0**-53
