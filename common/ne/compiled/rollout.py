"""Plays episodes with network and physics fused into one function, compiled by Numba; imported only where it is used.

Small networks play in eight lanes, an episode in each, a step of all at a time: vector instructions compute the eight
networks, and while one episode's physics waits for a result, another's goes on. A lane whose episode has ended takes
the next. What an episode gives does not depend on which others are beside it, so threads share them in any way.

Axes: n episodes.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, no_type_check

import numba
import numpy as np

from common.errors import ConfigError
from common.ne.compiled import physics as compiled
from common.ne.compiled.cache import use_cache_for
from common.ne.compiled.networks import forward
from common.ne.compiled.tanh import tanh_of
from common.ne.compiled.vector import WIDTH, load, row_of, store, take_number
from common.ne.evaluator import physics
from common.ne.evaluator.base import Episodes
from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.rollout import empty_episodes
from common.ne.population import networks
from common.ne.population.actor import Actors
from common.ne.population.networks.base import LAYERED, Arrays

NONE = -1
"""Instead of an episode's index."""

MAX_SIDE_BY_SIDE = 2048
"""Parameters up to which eight networks side by side are faster than one at a time: they fit into near caches."""

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
        self.num_threads = num_threads

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
        num_lanes = WIDTH if network.kind == LAYERED and network.numbers.shape[1] <= MAX_SIDE_BY_SIDE else 1
        piece: Any = partial(
            play,
            (self.environment, self.physics.max_steps, num_lanes, bounds, spaces.num_outputs),
            tuple(network),
            (arrays["shift"], arrays["scale"], self.actors.has_statistics),
            (individuals, np.ascontiguousarray(self.physics.start(seeds))),
            (result.rewards, result.lengths, result.sums, result.squares, result.memory),
            np.zeros(1, np.int64),
        )
        for done in [self.pool.submit(piece) for _ in range(self.num_threads)]:
            done.result()
        return result


_FOLDERS = (Path(__file__).parent, Path(str(physics.__file__)).parent, Path(str(networks.__file__)).parent)
use_cache_for([file for folder in _FOLDERS for file in sorted(folder.glob("*.py"))])


@numba.njit(nogil=True, cache=True)
@no_type_check
def play(settings, network, view, starts, results, counter):
    """Plays episodes as long as there are any; the arguments are put together in `CompiledRollout.play`."""
    environment, max_steps, num_lanes, bounds, num_outputs = settings
    kind, numbers, indices, table, num_units = network
    num_inputs, num_remembered = view[0].shape[1], results[-1].shape[1]
    own_numbers, own_memory = np.zeros(numbers.shape[1] * num_lanes + WIDTH), np.zeros(num_remembered * num_lanes)
    inputs, outputs = np.zeros(num_inputs * num_lanes), np.zeros(num_outputs * num_lanes + WIDTH)
    scratch, observation = np.zeros(2 * (num_units + WIDTH) * num_lanes), np.empty(num_inputs, np.float32)
    episodes = np.full(num_lanes, NONE)
    while begin(episodes, numbers, own_numbers, results[-1], own_memory, starts[0], counter) > 0:
        look(environment, episodes, view, starts, results, observation, inputs)
        sources = row_of(indices, starts[0][episodes[0]])  # Looked at with a single lane alone.
        forward(kind, num_lanes, own_numbers, sources, table, own_memory, inputs, outputs, scratch)
        if len(bounds) > 0:
            store(outputs, 0, scaled(load(outputs, 0), bounds))
        act(environment, max_steps, episodes, outputs, num_outputs, bounds, starts[1], results, own_memory)


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def begin(episodes, numbers, own_numbers, memory, own_memory, individuals, counter):
    """Gives each lane without an episode the next that nobody has taken; returns how many have one."""
    num_lanes, num_live = len(episodes), 0
    for lane in range(num_lanes):
        if episodes[lane] == NONE and counter[0] < len(individuals):
            episode = take_number(counter)
            if episode < len(individuals):
                episodes[lane] = episode
                row = individuals[episode]
                for index in range(numbers.shape[1]):
                    own_numbers[index * num_lanes + lane] = numbers[row, index]
                for index in range(memory.shape[1]):
                    own_memory[index * num_lanes + lane] = memory[episode, index]
        if episodes[lane] != NONE:
            num_live += 1
    return num_live


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def look(environment, episodes, view, starts, results, observation, inputs):
    """Shows each network its episode."""
    shift, scale, has_statistics = view
    individuals, states = starts
    _, _, sums, squares, _ = results
    num_lanes = len(episodes)
    for lane in range(num_lanes):
        episode = episodes[lane]
        if episode == NONE:
            continue
        row = individuals[episode]
        observe(environment, row_of(states, episode), observation)
        for index in range(len(observation)):
            inputs[index * num_lanes + lane] = (observation[index] - shift[row, index]) * scale[row, index]
            if has_statistics:
                sums[episode, index] += observation[index]
                squares[episode, index] += np.float64(observation[index]) * np.float64(observation[index])


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def act(environment, max_steps, episodes, outputs, num_outputs, bounds, states, results, own_memory):
    """Plays a step of each lane's episode, and takes leave of those that have ended."""
    rewards, lengths, _, _, memory = results
    num_lanes = len(episodes)
    for lane in range(num_lanes):
        episode = episodes[lane]
        if episode == NONE:
            continue
        action = choose(outputs, num_outputs, lane, num_lanes) if len(bounds) == 0 else outputs[lane]
        reward, is_over = step(environment, row_of(states, episode), action)
        rewards[episode] += reward
        lengths[episode] += 1
        if is_over or lengths[episode] == max_steps:
            for index in range(memory.shape[1]):
                memory[episode, index] = own_memory[index * num_lanes + lane]
            episodes[lane] = NONE


@numba.njit(nogil=True, forceinline=True)
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


@numba.njit(nogil=True, forceinline=True)
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


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def choose(outputs, num_outputs, lane, num_lanes):
    """Returns the index of a lane's largest output, the first of equals, as a float."""
    best = 0
    for index in range(1, num_outputs):
        if outputs[index * num_lanes + lane] > outputs[best * num_lanes + lane]:
            best = index
    return float(best)


@numba.njit(nogil=True, forceinline=True)
@no_type_check
def scaled(outputs, bounds):
    """Maps a vector of networks' only outputs to the bounds of the action; see `Spaces.actions_of`."""
    low, high = bounds
    return low + (tanh_of(outputs) + 1.0) / 2.0 * (high - low)
