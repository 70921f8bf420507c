"""Random states: seeding them, and leaving them as they were."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

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


def get_random_states() -> dict[str, Any]:
    """Returns the random states of Python, NumPy and torch on every device, as each library gives them."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def as_plain_values(states: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `get_random_states` returned as tensors and plain values, which a checkpoint may hold.

    Apart from that function, because it takes as long again, and a checkpoint is rarely wanted.
    """
    version, internal, gauss = states["python"]
    mersenne = states["numpy"]["state"]
    key = torch.from_numpy(mersenne["key"].astype(np.int64))
    return {
        **states,
        "python": [version, list(internal), gauss],
        "numpy": {**states["numpy"], "state": {"key": key, "pos": mersenne["pos"]}},
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Restores what `as_plain_values` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    mersenne = states["numpy"]["state"]
    key = mersenne["key"].numpy().astype(np.uint32)
    np.random.set_state({**states["numpy"], "state": {"key": key, "pos": mersenne["pos"]}})
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)


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
