"""Plays episodes without a compiler: those whose physics is batched, in NumPy, and those of any gymnasium environment.

Batched ones are played all at once, and none beyond its end. Gymnasium's own vector environments step an episode that
has ended on, or begin another one from a state that nobody chose. Here each of a row of environments is stepped by
itself, and begins the next episode that is to be played when its own has ended; the networks are computed for the whole
row at once.

Axes: n episodes; s environments side by side; o numbers of an observation; m numbers of memory.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from common.errors import RunError
from common.ne.evaluator.base import Episodes
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
    return Episodes(np.zeros(num), np.zeros(num, np.int64), sums, sums.copy(), np.zeros((num, memory_size)))


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

    def play(self) -> Episodes:
        """Plays all episodes to their ends."""
        for _ in range(self.physics.max_steps):
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
