"""Random states: seeding them, and leaving them as they were."""

import ctypes
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


class _NumpyState:
    """Takes the state of NumPy's global generator, quickly where nothing was drawn since it was taken last.

    NumPy builds its state number by number, a tenth of a millisecond each time; its memory can be compared at once.
    """

    NUM_BYTES = 4 * 625
    """Of the Mersenne Twister: 624 words and its position among them."""

    def __init__(self) -> None:
        self._memory = b""
        self._state: dict[str, Any] = {}

    def take(self) -> dict[str, Any]:
        """Returns the state, as `numpy.random.get_state(legacy=False)` does."""
        generator = np.random.get_bit_generator()  # type: ignore[attr-defined]  # Public, and not in NumPy's stubs.
        is_twister = type(generator) is np.random.MT19937
        memory = ctypes.string_at(generator.ctypes.state_address, self.NUM_BYTES) if is_twister else b""
        # A second normally distributed number is drawn without touching that memory.
        if not memory or memory != self._memory or self._state["has_gauss"]:
            self._memory, self._state = memory, dict(np.random.get_state(legacy=False))
        return self._state


_numpy = _NumpyState()


def get_random_states() -> dict[str, Any]:
    """Returns the random states of Python, NumPy and torch on every device, as each library gives them."""
    return {
        "python": random.getstate(),
        "numpy": _numpy.take(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def as_plain_values(states: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what `get_random_states` returned as tensors and plain values, which a checkpoint may hold.

    Apart from that function, because it takes as long again, and a checkpoint is rarely wanted.
    """
    version, internal, gauss = states["python"]
    inner = {
        name: torch.from_numpy(value.astype(np.int64)) if isinstance(value, np.ndarray) else value
        for name, value in states["numpy"]["state"].items()
    }
    numpy_state = {**states["numpy"], "state": inner}
    return {**states, "python": [version, list(internal), gauss], "numpy": numpy_state}


def set_random_states(states: Mapping[str, Any]) -> None:
    """Restores what `as_plain_values` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    inner = {
        name: value.numpy().astype(np.uint32) if isinstance(value, torch.Tensor) else value
        for name, value in states["numpy"]["state"].items()
    }
    np.random.set_state({**states["numpy"], "state": inner})
    torch.set_rng_state(states["torch"])
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, device)


class RandomStream:
    """Random numbers of their own for what runs within a `with`, on the CPU; each such block draws on.

    Args:
        seed: Any whole number from 0.
    """

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        twister: Any = np.random.RandomState(seed % 2**32).get_state()
        self._states = random.Random(seed).getstate(), twister, generator.get_state()

    def __enter__(self) -> None:
        """Lets this stream's numbers be drawn."""
        self._swap()

    def __exit__(self, *_: object) -> None:
        """Lets the numbers be drawn that would have been drawn without the block."""
        self._swap()

    def _swap(self) -> None:
        mine = self._states
        self._states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.setstate(mine[0])
        np.random.set_state(mine[1])
        torch.set_rng_state(mine[2])


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
