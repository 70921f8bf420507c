"""Plays episodes with network and physics fused into one function, compiled by Numba; imported only where it is used.

Each episode is played from its start to its end by itself, so threads share the episodes in any way.

Axes: n episodes.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, no_type_check

import numba
import numpy as np

from common.errors import ConfigError
from common.ne.evaluator.base import Episodes
from common.ne.evaluator.physics import PHYSICS, compiled
from common.ne.evaluator.rollout import empty_episodes
from common.ne.population import networks
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays
from common.ne.population.networks.compiled import forward
from common.ne.utils import compiled_math
from common.ne.utils.compiled_math import tanh_of
from common.ne.utils.numba_cache import use_cache_for

CHUNKS_PER_THREAD = 8
"""Pieces into which a thread's share is cut, because episodes differ in length."""

NAMES = tuple(compiled.COMPILED)
"""An environment's place here tells it in the kernel."""

_step_0, _step_1, _step_2, _step_3, _step_4 = (physics.step for physics in compiled.COMPILED.values())
_observe_0, _observe_1, _observe_2, _observe_3, _observe_4 = (physics.observe for physics in compiled.COMPILED.values())


class CompiledRollout:
    """Plays episodes of one environment.

    Args:
        name: The environment's id.
        actors: Says what individuals are.
        num_threads: Threads to use.
    """

    def __init__(self, name: str, actors: Actors, num_threads: int) -> None:
        self.physics = PHYSICS[name]
        self.environment = NAMES.index(name)
        self.actors = actors
        self.pool = ThreadPoolExecutor(num_threads)
        self.num_chunks = 1 if num_threads == 1 else num_threads * CHUNKS_PER_THREAD

    def play(self, arrays: Arrays, individuals: np.ndarray, seeds: np.ndarray) -> Episodes:
        """Plays all episodes to their ends.

        Args:
            arrays: Individuals.
            individuals: The index of each episode's individual.
            seeds: The seed of each episode's start state.

        Raises:
            ConfigError: this kind of network has no compiled form.
        """
        network = self.actors.networks.for_kernel(arrays)
        if network is None:
            raise ConfigError(
                f"{type(self.actors.networks).__name__} have no compiled form: use evaluator.config.backend=numpy."
            )
        memory = self.actors.networks.start_memory(arrays)[individuals]
        result = empty_episodes(self.actors, len(seeds), memory.shape[1])
        result.memory = memory
        spaces = self.actors.spaces
        bounds = np.concatenate([spaces.action_low, spaces.action_high])  # Empty where actions are discrete.
        piece: Any = partial(
            play,
            (self.environment, self.physics.max_steps, int(self.actors.has_statistics), spaces.num_outputs),
            tuple(network),
            (arrays["shift"], arrays["scale"]),
            bounds,
            (individuals, self.physics.start(seeds)),
            (result.rewards, result.lengths, result.sums, result.squares, result.memory),
        )
        ends = np.linspace(0, len(seeds), min(self.num_chunks, len(seeds)) + 1).astype(np.int64)
        for done in [self.pool.submit(piece, first, last) for first, last in pairwise(ends)]:
            done.result()
        return result


_FOLDERS = (Path(str(compiled.__file__)).parent, Path(str(networks.__file__)).parent)
use_cache_for(
    [
        Path(__file__),
        Path(str(compiled_math.__file__)),
        *(file for folder in _FOLDERS for file in sorted(folder.glob("*.py"))),
    ]
)


@numba.njit(nogil=True, cache=True)
@no_type_check
def play(settings, network, view, bounds, starts, results, first, last):
    """Plays the episodes from an index to another; the arguments are put together in `CompiledRollout.play`."""
    environment, max_steps, has_statistics, num_outputs = settings
    kind, numbers, indices, table, num_scratch = network
    shift, scale = view
    individuals, states = starts
    rewards, lengths, sums, squares, memory = results
    num_inputs = shift.shape[1]
    observation = np.empty(num_inputs, np.float32)
    inputs, outputs, scratch = np.empty(num_inputs), np.empty(num_outputs), np.empty(num_scratch)
    for episode in range(first, last):
        individual, state, remembered = individuals[episode], states[episode], memory[episode]
        own_numbers, own_indices = numbers[individual], indices[individual]
        total, length, is_over = 0.0, 0, False
        while not is_over and length < max_steps:
            observe(environment, state, observation)
            for index in range(num_inputs):
                inputs[index] = (observation[index] - shift[individual, index]) * scale[individual, index]
                if has_statistics:
                    sums[episode, index] += observation[index]
                    squares[episode, index] += np.float64(observation[index]) * np.float64(observation[index])
            forward(kind, own_numbers, own_indices, table, remembered, inputs, outputs, scratch)
            reward, is_over = step(environment, state, choose(outputs) if len(bounds) == 0 else scaled(outputs, bounds))
            total += reward
            length += 1
        rewards[episode], lengths[episode] = total, length


@numba.njit(nogil=True)
@no_type_check
def step(environment, state, action):  # Numba cannot pick a function from a tuple by an index that it does not know.
    """Plays one step of the environment with this number."""
    if environment == 0:
        return _step_0(state, action)
    if environment == 1:
        return _step_1(state, action)
    if environment == 2:
        return _step_2(state, action)
    if environment == 3:
        return _step_3(state, action)
    return _step_4(state, action)


@numba.njit(nogil=True)
@no_type_check
def observe(environment, state, observation):
    """Observes the environment with this number."""
    if environment == 0:
        _observe_0(state, observation)
    elif environment == 1:
        _observe_1(state, observation)
    elif environment == 2:
        _observe_2(state, observation)
    elif environment == 3:
        _observe_3(state, observation)
    else:
        _observe_4(state, observation)


@numba.njit(nogil=True)
@no_type_check
def choose(outputs):
    """Returns the index of the largest output, the first of equals, as a float."""
    best = 0
    for index in range(1, len(outputs)):
        if outputs[index] > outputs[best]:
            best = index
    return float(best)


@numba.njit(nogil=True)
@no_type_check
def scaled(outputs, bounds):
    """Maps the only output to the bounds of the action; see `Spaces.actions_of`."""
    return bounds[0] + (tanh_of(outputs[0]) + 1) / 2 * (bounds[1] - bounds[0])
