"""Plays episodes with network and physics fused into one function, compiled by Numba; imported only where it is used.

Each episode is played from its start to its end by itself, so threads share the episodes in any way.

Axes: n episodes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, no_type_check

import numba
import numpy as np

from common.ne.evaluator.base import Episodes
from common.ne.evaluator.physics import PHYSICS
from common.ne.evaluator.physics.compiled import CompiledPhysics, compiled
from common.ne.evaluator.rollout import empty_episodes
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays
from common.ne.utils.compiled_math import tanh

CHUNKS_PER_THREAD = 8
"""Pieces into which a thread's share is cut, because episodes differ in length."""


class CompiledRollout:
    """Plays episodes of one environment with one kind of network.

    Args:
        name: The environment's id.
        actors: Says what individuals are.
        num_threads: Threads to use.
    """

    def __init__(self, name: str, actors: Actors, num_threads: int) -> None:
        self.physics = PHYSICS[name]
        self.actors = actors
        spaces = actors.spaces
        forward, num_scratch = actors.networks.compiled()
        act = choose if spaces.kind == "discrete" else turn_to_number
        sizes = spaces.num_inputs, spaces.num_outputs, num_scratch
        self.kernel = compile_rollout(compiled(name), forward, act, sizes)
        self.pool = ThreadPoolExecutor(num_threads)
        self.num_chunks = 1 if num_threads == 1 else num_threads * CHUNKS_PER_THREAD

    def play(self, arrays: Arrays, individuals: np.ndarray, seeds: np.ndarray) -> Episodes:
        """Plays all episodes to their ends.

        Args:
            arrays: Individuals.
            individuals: The index of each episode's individual.
            seeds: The seed of each episode's start state.
        """
        memory = self.actors.networks.start_memory(arrays)[individuals]
        result = empty_episodes(self.actors, len(seeds), memory.shape[1])
        result.memory = memory
        fixed = (
            self.actors.networks.kernel_arrays(arrays),
            (arrays["shift"], arrays["scale"]),
            (self.actors.spaces.action_low, self.actors.spaces.action_high),
            (self.physics.max_steps, self.actors.has_statistics),
            (individuals, self.physics.start(seeds)),
            (result.rewards, result.lengths, result.sums, result.squares, result.memory),
        )
        ends = np.linspace(0, len(seeds), min(self.num_chunks, len(seeds)) + 1).astype(np.int64)
        for done in [self.pool.submit(self.kernel, *fixed, first, last) for first, last in pairwise(ends)]:
            done.result()
        return result


def compile_rollout(
    physics: CompiledPhysics, forward: Callable[..., None], act: Callable[..., Any], sizes: tuple[int, int, int]
) -> Callable[..., None]:
    """Returns a function that plays the episodes from an index to another.

    Args:
        physics: The environment's.
        forward: The network's.
        act: Turns outputs and bounds into an action.
        sizes: The numbers of inputs, of outputs, and of scratch space that `forward` wants.
    """
    num_inputs, num_outputs, num_scratch = sizes
    step, observe = physics.step, physics.observe

    @numba.njit(nogil=True)
    @no_type_check
    def play(network, view, bounds, limits, starts, results, first, last):
        shift, scale = view
        max_steps, has_statistics = limits
        individuals, states = starts
        rewards, lengths, sums, squares, memory = results
        observation = np.empty(num_inputs, np.float32)
        inputs, outputs, scratch = np.empty(num_inputs), np.empty(num_outputs), np.empty(num_scratch)
        for episode in range(first, last):
            individual, state, remembered = individuals[episode], states[episode], memory[episode]
            total, length, is_over = 0.0, 0, False
            while not is_over and length < max_steps:
                observe(state, observation)
                for index in range(num_inputs):
                    inputs[index] = (observation[index] - shift[individual, index]) * scale[individual, index]
                    if has_statistics:
                        sums[episode, index] += observation[index]
                        squares[episode, index] += np.float64(observation[index]) * np.float64(observation[index])
                forward(network, individual, remembered, inputs, outputs, scratch)
                reward, is_over = step(state, act(outputs, bounds))
                total += reward
                length += 1
            rewards[episode], lengths[episode] = total, length

    return play  # type: ignore[no-any-return]


@numba.njit(nogil=True)
@no_type_check
def choose(outputs, bounds):  # noqa: ARG001  # Called like the other one.
    """Returns the index of the largest output, the first of equals."""
    best = 0
    for index in range(1, len(outputs)):
        if outputs[index] > outputs[best]:
            best = index
    return best


@numba.njit(nogil=True)
@no_type_check
def turn_to_number(outputs, bounds):
    """Maps the only output to the bounds of the action, see `actions_of`."""
    tanh(outputs)
    return np.float32(bounds[0][0] + (outputs[0] + 1) / 2 * (bounds[1][0] - bounds[0][0]))
