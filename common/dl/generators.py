"""Random generators that objects of a task hold, beside those of Python, NumPy and torch: found, saved and seeded."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from common.dl.datamodule.sampler import order_seed

Generator = torch.Generator | np.random.Generator | np.random.RandomState | random.Random

MAX_DEPTH = 6
"""How far from an object generators are looked for: a data set's transform's list's entry is four away."""

MAX_LENGTH = 1000
"""Longer collections hold data."""


def generators_in(*roots: Any) -> list[Generator]:
    """Returns the generators that objects hold, directly or through what they hold, each once, in a fixed order."""
    found: dict[int, Generator] = {}
    seen: set[int] = set()
    for root in roots:
        for generator in _walk(root, MAX_DEPTH, seen):
            found[id(generator)] = generator
    return list(found.values())


def _walk(value: Any, depth: int, seen: set[int]) -> Iterator[Generator]:
    if isinstance(value, Generator):
        yield value
        return
    inner = _content(value)
    if not depth or not inner or id(value) in seen:
        return
    seen.add(id(value))
    for entry in inner:
        yield from _walk(entry, depth - 1, seen)


def _content(value: Any) -> list[Any]:
    """Returns what an object holds; nothing of what cannot hold a generator, is long, or holds the whole run."""
    if isinstance(value, torch.Tensor | np.ndarray | type) or type(value).__module__.startswith("pytorch_lightning"):
        return []
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return list(value) if len(value) <= MAX_LENGTH else []
    return list(getattr(value, "__dict__", {}).values())


def get_state(generator: Generator) -> Any:
    """Returns a generator's state as tensors and plain values, which a checkpoint may hold."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        version, internal, gauss = generator.getstate()
        return [version, list(internal), gauss]
    state: Any = (
        generator.bit_generator.state
        if isinstance(generator, np.random.Generator)
        else generator.get_state(legacy=False)
    )
    return _plain(state)


def set_state(generator: Generator, state: Any) -> None:
    """Restores what `get_state` returned."""
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        version, internal, gauss = state
        generator.setstate((version, tuple(internal), gauss))
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = _numpy(state)
    else:
        generator.set_state(_numpy(state))


def reseed(generators: list[Generator], seed: int) -> None:
    """Seeds generators so that they share nothing.

    Args:
        generators: As `generators_in` returned them.
        seed: Any whole number from 0.
    """
    for index, generator in enumerate(generators):
        own = order_seed(seed, index)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(own)
        elif isinstance(generator, random.Random):
            generator.seed(own)
        elif isinstance(generator, np.random.RandomState):
            generator.seed(own % 2**32)
        else:
            generator.bit_generator.state = type(generator.bit_generator)(own).state


def _plain(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {name: _plain(value) for name, value in state.items()}
    return {"array": state.tolist(), "dtype": str(state.dtype)} if isinstance(state, np.ndarray) else state


def _numpy(state: Any) -> Any:
    if isinstance(state, Mapping) and set(state) == {"array", "dtype"}:
        return np.array(state["array"], dtype=state["dtype"])
    return {name: _numpy(value) for name, value in state.items()} if isinstance(state, Mapping) else state
