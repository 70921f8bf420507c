"""Random numbers as pure functions of what they are for.

There is no random state to save or to share: a generator is made anew from the run's seed, the generation and the
purpose (counter-based: Philox; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). So a run that
continues draws what it would have drawn, and so does each of any number of ranks.

Axes: p individuals; e episodes; n seeds.
"""

import hashlib
from typing import Literal

import numpy as np
from jaxtyping import UInt64

from common.utils.beartype import shape_checked

Purpose = Literal["initial", "mutation", "selection", "sampling", "training", "validation", "test", "recording"]
"""What random numbers are for; two purposes never share any."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""The increment of SplitMix64."""

SEED_BITS = 31
"""Of an episode's seed: NumPy's old generators and those of C take no more."""


def generator(seed: int, generation: int, purpose: Purpose, individual: int = 0) -> np.random.Generator:
    """Returns the random number generator for one purpose.

    Args:
        seed: The run's seed, from 0.
        generation: From 0.
        purpose: What the numbers are for.
        individual: From 0; where numbers are drawn for the whole population in one call, 0.
    """
    return np.random.Generator(np.random.Philox(key=_key(f"{seed}/{generation}/{purpose}/{individual}")))


@shape_checked
def episode_seeds(
    seed: int, generation: int, purpose: Purpose, size: int, num_episodes: int, *, is_shared: bool
) -> UInt64[np.ndarray, "p e"]:
    """Returns the seed of each episode's start state, of 31 bits: more are too many for what some libraries take.

    Args:
        seed: The run's seed, from 0.
        generation: From 0.
        purpose: What the episodes are for.
        size: Number of individuals, p.
        num_episodes: Episodes of each, e.
        is_shared: Whether all individuals meet the same start states.
    """
    individuals = np.zeros(size, np.uint64) if is_shared else np.arange(1, size + 1, dtype=np.uint64)
    episodes = np.arange(num_episodes, dtype=np.uint64)
    root = np.uint64(_key(f"{seed}/{generation}/{purpose}/episodes") % 2**64)
    return mixed(mixed(root + GOLDEN * individuals)[:, None] + GOLDEN * episodes) >> np.uint64(64 - SEED_BITS)


@shape_checked
def mixed(words: UInt64[np.ndarray, "*n"]) -> UInt64[np.ndarray, "*n"]:
    """Scrambles 64-bit words, each by itself and one to one.

    The finalizer of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: np.ndarray = words ^ (words >> np.uint64(31))
    return scrambled


def _key(text: str) -> int:
    """Returns 128 bits that follow from a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")
