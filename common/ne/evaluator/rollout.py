"""Plays episodes whose physics is batched, in NumPy: all at once, and none beyond its end.

Axes: n episodes; o numbers of an observation; m numbers of memory.
"""

from collections.abc import Callable

import numpy as np

from common.ne.evaluator.base import Cancelled, Episodes
from common.ne.evaluator.physics.base import Physics
from common.ne.population.actor import Actors, network_inputs
from common.ne.population.networks.base import Arrays, taken

MIN_LIVE = 0.9
"""Networks of finished episodes are dropped when less than this part of those at hand live: dropping them copies the
parameters of all others, and so is not worth it for each. The physics is of live episodes alone."""


class Players:
    """The networks of episodes that are being played.

    Args:
        actors: Says what individuals are.
        arrays: The individual of each episode.
    """

    def __init__(self, actors: Actors, arrays: Arrays) -> None:
        self.actors = actors
        self.arrays = _side_by_side(arrays)
        self.memory = actors.networks.start_memory(arrays)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Returns the action of each episode, given its observation."""
        inputs = network_inputs(self.arrays, observations)
        outputs = self.actors.networks.forward(self.arrays, self.memory, inputs)
        return self.actors.spaces.actions_of(outputs)

    def keep(self, indices: np.ndarray) -> None:
        """Goes on with some of the episodes."""
        self.arrays = _side_by_side(taken(self.arrays, indices))
        self.memory = self.memory[indices]

    def replace(self, index: int, arrays: Arrays) -> None:
        """Puts the only individual of `arrays`, at the start of an episode, in the place of another."""
        for name, array in arrays.items():
            self.arrays[name][index] = array[0]
        self.memory[index] = self.actors.networks.start_memory(arrays)[0]


def _side_by_side(arrays: Arrays) -> Arrays:
    """Lays matrices out so that the same number of all individuals lies side by side, which steps are fastest with."""
    return {name: np.asfortranarray(array) if array.ndim == 2 else array for name, array in arrays.items()}


def empty_episodes(actors: Actors, num: int, memory_size: int) -> Episodes:
    """Returns room for what comes of episodes."""
    num_sums = actors.spaces.num_inputs if actors.has_statistics else 0
    sums = np.zeros((num, num_sums))
    none = np.zeros(num, np.int64)
    return Episodes(np.zeros(num), none, sums, sums.copy(), none.copy(), np.zeros((num, memory_size)))


class BatchedRollout:
    """Plays episodes of an environment whose physics is batched.

    Args:
        physics: The environment's.
        actors: Says what individuals are.
        arrays: The individual of each episode.
        seeds: The seed of each episode's start state.
    """

    def __init__(self, physics: Physics, actors: Actors, arrays: Arrays, seeds: np.ndarray) -> None:
        self.physics = physics
        self.players = Players(actors, arrays)
        self.states = physics.start(seeds)
        self.result = empty_episodes(actors, len(seeds), self.players.memory.shape[1])
        self.episodes = np.arange(len(seeds))
        """The episode of each player."""
        self.live = np.arange(len(seeds))
        """The player of each state."""
        self.rewards = np.zeros(len(seeds))
        """The total reward of each live episode."""
        self.num_steps = 0
        self.shown = np.zeros((len(seeds), physics.observation_size), np.float32, order="F")

    def play(self, is_cancelled: Callable[[], bool]) -> Episodes:
        """Plays all episodes to their ends.

        Args:
            is_cancelled: Is asked before each step whether to leave.

        Raises:
            Cancelled: it said so.
        """
        for _ in range(self.physics.max_steps):
            if is_cancelled():
                raise Cancelled
            self.end(self.step())
            if len(self.live) == 0:
                break
        self.end(np.ones(len(self.live), bool))
        return self.result

    def step(self) -> np.ndarray:
        """Plays one step of all live episodes; returns which have terminated."""
        observations = self.physics.observe(self.states)
        self.shown[self.live] = observations
        actions = self.players.act(self.shown)[self.live]
        self.states, rewards, terminated = self.physics.step(self.states, actions)
        self.rewards += rewards
        self.num_steps += 1
        if self.players.actors.has_statistics:
            episodes = self.episodes[self.live]
            self.result.sums[episodes] += observations
            self.result.squares[episodes] += np.square(observations, dtype=np.float64)
        return terminated

    def end(self, ended: np.ndarray) -> None:
        """Removes the live episodes that are marked."""
        if not ended.any():
            return
        episodes = self.episodes[self.live[ended]]
        self.result.rewards[episodes], self.result.lengths[episodes] = self.rewards[ended], self.num_steps
        self.result.memory[episodes] = self.players.memory[self.live[ended]]
        self.states, self.live, self.rewards = self.states[~ended], self.live[~ended], self.rewards[~ended]
        if len(self.live) < MIN_LIVE * len(self.episodes):
            self.players.keep(self.live)
            self.episodes, self.shown = self.episodes[self.live], np.asfortranarray(self.shown[self.live])
            self.live = np.arange(len(self.live))
