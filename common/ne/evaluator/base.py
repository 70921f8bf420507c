"""What every evaluator does: play episodes with individuals.

Axes: p individuals; e episodes of each; n episodes in all, in the order of individuals; o numbers of an observation.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import UInt64

from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays
from common.ne.population.spaces import Spaces
from common.utils.beartype import shape_checked


@dataclass
class Episodes:
    """What came of n episodes.

    Attributes:
        rewards: The total reward of each, n.
        lengths: The steps of each, n.
        sums: Sums of the observations of each, n × o; n × 0 where nobody asked for them.
        squares: Sums of their squares, likewise.
        num_unusable: How many observations of each held what is no finite number, and are in no sum, n.
        memory: What the networks remembered at the end, n × m.
    """

    rewards: np.ndarray
    lengths: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    num_unusable: np.ndarray
    memory: np.ndarray


class Cancelled(Exception):  # noqa: N818  # No error: somebody asked for it.
    """Episodes were left before their ends."""


def joined_episodes(parts: list[Episodes]) -> Episodes:
    """Returns several sets of episodes as one."""
    names = [field.name for field in fields(Episodes)]
    return Episodes(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def never() -> bool:
    """Says that nothing is to be cancelled."""
    return False


class BaseEvaluator(ABC):
    """Plays episodes.

    Args:
        config: The evaluator's own settings, among them `num_episodes` and `start_states`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def can_be_cancelled(self) -> bool:
        """Whether `play` asks `is_cancelled`; where it does not, episodes are short."""
        return False

    def registration(self) -> dict[str, Any]:
        """Returns what another process has to know to play here, as plain values; see `register_again`."""
        return {}

    @property
    @abstractmethod
    def spaces(self) -> Spaces:
        """What the environment shows, and what it can be told."""

    @abstractmethod
    @shape_checked
    def play(
        self,
        actors: Actors,
        arrays: Arrays,
        individuals: np.ndarray,
        seeds: UInt64[np.ndarray, " n"],
        is_cancelled: Callable[[], bool] = never,
    ) -> Episodes:
        """Plays episodes, each a function of its individual and its seed alone.

        Args:
            actors: Says what individuals are.
            arrays: Individuals.
            individuals: The index of each episode's individual, n.
            seeds: The seed of each episode's start state.
            is_cancelled: Whether to leave; asked now and then where episodes may take long.

        Raises:
            Cancelled: it said so.
            RunError: the environment failed; seed and individual are named.
        """

    @abstractmethod
    def record(
        self, actors: Actors, arrays: Arrays, seed: int, render_mode: str = "rgb_array"
    ) -> tuple[list[np.ndarray], float]:
        """Plays one episode with the only individual, before a camera.

        Args:
            actors: Says what individuals are.
            arrays: One individual.
            seed: Of the start state.
            render_mode: `human` shows a window instead of returning pictures.

        Returns:
            Pictures, each height × width × 3 of bytes, and the seconds between two; none where nothing can be seen.
        """
