"""Plays episodes of any gymnasium environment.

Gymnasium's own vector environments step an episode that has ended on, or begin another one from a state that nobody
chose. Here each of a row of environments is stepped by itself, and begins the next episode that is to be played when
its own has ended; the networks are computed for the whole row at once.

Axes: n episodes; s environments side by side; o numbers of an observation.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from common.errors import RunError
from common.ne.evaluator.base import Cancelled, Episodes
from common.ne.evaluator.rollout import Players, empty_episodes
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays, taken

NUM_ENVIRONMENTS = 64
"""Environments side by side, at most: enough that the networks' cost is shared."""


class GymnasiumRollout:
    """Plays episodes of any gymnasium environment.

    Args:
        environments: Those that exist already; more are made where they are wanted, and appended.
        make: Makes one.
        actors: Says what individuals are.
        arrays: The individuals.
        individuals: The index of each episode's individual.
        seeds: The seed of each episode's start state.
    """

    def __init__(
        self,
        environments: list[Any],
        make: Callable[[], Any],
        actors: Actors,
        arrays: Arrays,
        individuals: np.ndarray,
        seeds: np.ndarray,
    ) -> None:
        self.num_slots = min(NUM_ENVIRONMENTS, len(seeds))
        environments.extend(make() for _ in range(self.num_slots - len(environments)))
        self.environments = environments
        self.arrays, self.individuals, self.seeds = arrays, individuals, seeds
        self.players = Players(actors, taken(arrays, individuals[: self.num_slots]))
        self.players.arrays = {name: array.copy(order="K") for name, array in self.players.arrays.items()}
        self.result = empty_episodes(actors, len(seeds), self.players.memory.shape[1])
        self.shown = np.zeros((self.num_slots, actors.spaces.num_inputs), np.float32)
        self.is_usable = np.ones(self.num_slots, bool)
        self.episodes = np.zeros(self.num_slots, np.int64)
        self.generators = [GlobalGenerators(0) for _ in range(self.num_slots)]
        self.num_begun = 0

    def play(self, is_cancelled: Callable[[], bool]) -> Episodes:
        """Plays all episodes to their ends.

        Args:
            is_cancelled: Is asked before each step whether to leave.

        Raises:
            Cancelled: it said so.
            RunError: the environment failed.
        """
        with unchanged_global_generators():
            live = [slot for slot in range(self.num_slots) if self.begin(slot)]
            while live:
                if is_cancelled():
                    raise Cancelled
                actions = self.players.act(self.shown)
                live = [slot for slot in live if self.step(slot, actions[slot]) or self.begin(slot)]
        return self.result

    def begin(self, slot: int) -> bool:
        """Begins the next episode in an environment; returns whether there was one left."""
        if self.num_begun == len(self.seeds):
            return False
        episode = self.episodes[slot] = self.num_begun
        self.num_begun += 1
        individual, seed = self.individuals[episode], int(self.seeds[episode])
        self.players.replace(slot, taken(self.arrays, slice(individual, individual + 1)))
        self.generators[slot] = GlobalGenerators(seed)
        self._show(slot, self._guarded(slot, lambda environment: environment.reset(seed=seed))[0])
        return True

    def step(self, slot: int, action: Any) -> bool:
        """Plays one step of an environment; returns whether its episode goes on."""
        self._take_up(slot)
        episode = self.episodes[slot]
        observation, reward, terminated, truncated, _ = self._guarded(
            slot, lambda environment: environment.step(action)
        )
        if np.ndim(reward) or not isinstance(reward, (int, float, np.number, np.ndarray)):
            raise self._failure(slot, f"its reward is {reward!r}, where one number belongs")
        self._show(slot, observation)
        self.result.rewards[episode] += reward
        self.result.lengths[episode] += 1
        if terminated or truncated:
            self.result.memory[episode] = self.players.memory[slot]
        return not (terminated or truncated)

    def _show(self, slot: int, observation: Any) -> None:
        """Shows a network an observation, with what its input 0 stands for in the place of what is no finite number.

        Raises:
            RunError: its shape is not that of the space.
        """
        observation = np.asarray(observation)
        if observation.shape != self.shown.shape[1:]:
            raise self._failure(
                slot, f"it shows the shape {observation.shape}, where its observation_space says {self.shown.shape[1:]}"
            )
        with np.errstate(over="ignore"):  # What float32 cannot hold is infinite.
            self.shown[slot] = observation
        is_finite = np.isfinite(self.shown[slot])
        self.is_usable[slot] = is_finite.all()
        if not self.is_usable[slot]:
            self.shown[slot] = np.where(is_finite, self.shown[slot], self.players.arrays["shift"][slot])

    def _take_up(self, slot: int) -> None:
        """Adds what a network is shown to its episode's statistics, or counts that it cannot be."""
        episode = self.episodes[slot]
        if not self.is_usable[slot]:
            self.result.num_unusable[episode] += 1
        elif self.players.actors.has_statistics:
            self.result.sums[episode] += self.shown[slot]
            self.result.squares[episode] += np.square(self.shown[slot], dtype=np.float64)

    def _guarded(self, slot: int, use: Callable[[Any], Any]) -> Any:
        """Uses an environment.

        Raises:
            RunError: it failed.
        """
        try:
            with self.generators[slot]:
                return use(self.environments[slot])
        except Exception as error:  # An environment is anybody's code.
            raise self._failure(slot, f"{type(error).__name__}: {error}") from error

    def _failure(self, slot: int, what: str) -> RunError:
        episode = self.episodes[slot]
        return RunError(
            f"The environment failed in an episode of individual {self.individuals[episode]} with start seed "
            f"{self.seeds[episode]}, after {self.result.lengths[episode]} steps: {what}."
        )


class GlobalGenerators:
    """Python's and NumPy's global random numbers as one episode sees them, while a block runs.

    An environment that draws from them so repeats, whatever is played beside it.

    Args:
        seed: The seed of the episode's start state.
    """

    def __init__(self, seed: int) -> None:
        self.numpy = np.random.MT19937(seed)
        self.python = random.Random(seed).getstate()

    def __enter__(self) -> None:
        np.random.set_bit_generator(self.numpy)  # type: ignore[attr-defined]  # Public, but not so declared.
        random.setstate(self.python)

    def __exit__(self, *_: object) -> None:
        self.python = random.getstate()


@contextmanager
def unchanged_global_generators() -> Iterator[None]:
    """Gives the global generators back at the end of a block as they were."""
    numpy, python = np.random.get_bit_generator(), random.getstate()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        np.random.set_bit_generator(numpy)  # type: ignore[attr-defined]
        random.setstate(python)
