"""Duffing oscillators: a mass on a spring that grows stiffer, driven by a random force.

    x'' + 2 ζ x' + x + β x³ = F(t),    x(0) = x'(0) = 0,

in units in which the spring's own angular frequency at small amplitudes is 1. Source: Duffing 1918; for the form
Kovacic and Brennan 2011, "The Duffing equation", chapter 1.

Axes: N oscillators; L steps; S sinusoids of a force.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from common.errors import ConfigError
from common.run import stop
from common.utils.misc import available_cpus

NUM_SINUSOIDS = 8
FREQUENCY_RANGE = (0.1, 2.0)
"""Angular frequencies of a force's sinusoids, in units of the oscillator's own."""

BLOCK_SIZE = 64
"""Oscillators that are integrated together. Fixed, so that the result does not depend on the number of processes."""

TOLERANCE = 1e-6


@dataclass
class Oscillators:
    """What is simulated.

    Attributes:
        length: Steps per signal, L.
        time_step: Time between two steps.
        damping: The damping ratio, ζ.
        stiffening: The cubic term's factor, β.
        force_scale: Root mean square of the strongest forces; each signal's own is drawn between a third of it and it.
    """

    length: int
    time_step: float
    damping: float
    stiffening: float
    force_scale: float


def simulate(what: Oscillators, num_signals: int, seed: tuple[int, ...], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns forces and positions, each N×L, at the times 0, time_step, 2·time_step, ...

    Works in several processes where there are several CPUs, and shows a progress bar on a terminal.

    Args:
        what: The oscillators.
        num_signals: Number of oscillators, N; each has a force of its own.
        seed: Decides the forces.
        name: What the progress bar says.

    Raises:
        ConfigError: scipy is not installed.
    """
    from tqdm import tqdm

    sizes = [min(BLOCK_SIZE, num_signals - start) for start in range(0, num_signals, BLOCK_SIZE)]
    jobs = [(what, size, (*seed, index)) for index, size in enumerate(sizes)]
    with _mapping(min(available_cpus(), len(jobs))) as over, tqdm(total=num_signals, desc=name, disable=None) as bar:
        blocks = []
        for block in over(_simulate_block, jobs):
            blocks.append(block)
            bar.update(len(block[0]))
    forces, positions = zip(*blocks, strict=True)
    return np.concatenate(forces), np.concatenate(positions)


@contextmanager
def _mapping(num_processes: int) -> Iterator[Any]:
    """Gives a function like `map`, over processes if there is to be more than one."""
    if num_processes == 1:
        yield map
        return
    # Forked, a process would inherit torch's threads in a state in which they may hang.
    context = get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, initializer=stop.serve, initargs=(os.getpid(),)) as pool:
        yield pool.map


def _simulate_block(job: tuple[Oscillators, int, tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    try:
        from scipy.integrate import solve_ivp
    except ImportError as error:
        raise ConfigError("Making the oscillators' data needs scipy: pip install -e '.[oscillator]'.") from error
    what, size, seed = job
    draw = np.random.default_rng(seed)
    frequencies = draw.uniform(*FREQUENCY_RANGE, (size, NUM_SINUSOIDS))
    phases = draw.uniform(0, 2 * np.pi, (size, NUM_SINUSOIDS))
    amplitudes = draw.uniform(0, 1, (size, NUM_SINUSOIDS))
    strength = what.force_scale * draw.uniform(1 / 3, 1, (size, 1))
    amplitudes *= strength / np.sqrt(0.5 * np.square(amplitudes).sum(axis=1, keepdims=True))

    def force(time: float) -> np.ndarray:
        total: np.ndarray = (amplitudes * np.sin(frequencies * time + phases)).sum(axis=1)
        return total

    def motion(time: float, state: np.ndarray) -> np.ndarray:
        position, speed = state[:size], state[size:]
        pull = position + what.stiffening * position**3 + 2 * what.damping * speed
        return np.concatenate([speed, force(time) - pull])

    times = what.time_step * np.arange(what.length)
    solution = solve_ivp(
        motion,
        (0.0, times[-1]),
        np.zeros(2 * size),
        method="DOP853",
        t_eval=times,
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    return np.stack([force(time) for time in times], axis=1), solution.y[:size]
