"""Random states: seeding them, and leaving them as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch on every device.

    Lightning's function of the same name also writes the seed into environment variables, where the next point of a
    sweep would find it.

    Args:
        seed: Any whole number from 0.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def untouched_random_states() -> Iterator[None]:
    """Leaves the random states of Python, NumPy and torch, on every device, as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
