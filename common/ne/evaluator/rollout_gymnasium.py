"""Plays episodes of any gymnasium environment.

Gymnasium's own vector environments step an episode that has ended on, or begin another one from a state that nobody
chose. Here each of a row of environments is stepped by itself, and begins the next episode that is to be played when
its own has ended; the networks are computed for the whole row at once.

Axes: n episodes; s environments side by side.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from common.errors import RunError
from common.ne.evaluator.base import Episodes
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
        arrays: The individual of each episode.
        individuals: Its index in the population, for errors.
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
        self.players = Players(actors, taken(arrays, slice(0, self.num_slots)))
        self.players.arrays = {name: array.copy(order="K") for name, array in self.players.arrays.items()}
        self.result = empty_episodes(actors, len(seeds), self.players.memory.shape[1])
        self.shown = np.zeros((self.num_slots, actors.spaces.num_inputs), np.float32)
        self.episodes = np.zeros(self.num_slots, np.int64)
        self.num_begun = 0

    def play(self) -> Episodes:
        """Plays all episodes to their ends."""
        live = [slot for slot in range(self.num_slots) if self.begin(slot)]
        while live:
            actions = self.players.act(self.shown)
            live = [slot for slot in live if self.step(slot, actions[slot]) or self.begin(slot)]
        return self.result

    def begin(self, slot: int) -> bool:
        """Begins the next episode in an environment; returns whether there was one left."""
        if self.num_begun == len(self.seeds):
            return False
        episode = self.episodes[slot] = self.num_begun
        self.num_begun += 1
        self.players.replace(slot, taken(self.arrays, slice(episode, episode + 1)))
        self.shown[slot] = self._guarded(slot, lambda environment: environment.reset(seed=int(self.seeds[episode])))[0]
        return True

    def step(self, slot: int, action: Any) -> bool:
        """Plays one step of an environment; returns whether its episode goes on."""
        episode = self.episodes[slot]
        if self.players.actors.has_statistics:
            self.result.sums[episode] += self.shown[slot]
            self.result.squares[episode] += np.square(self.shown[slot], dtype=np.float64)
        self.shown[slot], reward, terminated, truncated, _ = self._guarded(slot, lambda env: env.step(action))
        self.result.rewards[episode] += reward
        self.result.lengths[episode] += 1
        if terminated or truncated:
            self.result.memory[episode] = self.players.memory[slot]
        return not (terminated or truncated)

    def _guarded(self, slot: int, use: Callable[[Any], Any]) -> Any:
        """Uses an environment.

        Raises:
            RunError: it failed.
        """
        try:
            return use(self.environments[slot])
        except Exception as error:  # An environment is anybody's code.
            episode = self.episodes[slot]
            raise RunError(
                f"The environment failed in an episode of individual {self.individuals[episode]} with start seed "
                f"{self.seeds[episode]}, after {self.result.lengths[episode]} steps: {type(error).__name__}: {error}"
            ) from error
