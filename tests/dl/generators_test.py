"""Generators of an object's own are found wherever they lie, and saved and seeded whatever their kind."""

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from common.dl.generators import generators_in, get_state, reseed, set_state
from common.run.checkpoint import read_checkpoint, write_checkpoint

DRAWS: dict[str, Any] = {
    "torch": (torch.Generator, lambda generator: torch.rand(3, generator=generator).tolist()),
    "random": (random.Random, lambda generator: [generator.random(), generator.gauss(0, 1)]),
    "PCG64": (
        np.random.default_rng,
        lambda generator: generator.normal(size=3).tolist(),
    ),
    "MT19937": (lambda: np.random.Generator(np.random.MT19937(1)), lambda generator: [generator.random()]),
    "Philox": (lambda: np.random.Generator(np.random.Philox(1)), lambda generator: [generator.random()]),
    "RandomState": (np.random.RandomState, lambda generator: [generator.rand(), generator.randn()]),
}

KINDS = pytest.mark.parametrize(("make", "draw"), DRAWS.values(), ids=DRAWS)


@KINDS
def test_a_state_comes_back_from_a_checkpoint(tmp_path: Path, make: Any, draw: Any) -> None:
    generator = make()
    draw(generator)
    write_checkpoint(tmp_path / "some.ckpt", {"state": get_state(generator)})
    expected = [draw(generator) for _ in range(3)]
    other = make()
    set_state(other, read_checkpoint(tmp_path / "some.ckpt")["state"])
    assert [draw(other) for _ in range(3)] == expected


@KINDS
def test_a_seed_decides_what_is_drawn(make: Any, draw: Any) -> None:
    one, other = [make(), make()], [make(), make()]
    draw(one[0])
    reseed(one, 2**63 - 1)
    reseed(other, 2**63 - 1)
    first, second = draw(one[0]), draw(one[1])
    assert (first, second) == (draw(other[0]), draw(other[1]))
    assert first != second
    reseed(one, 1)
    assert draw(one[0]) != first


def test_generators_are_found_once_wherever_they_lie() -> None:
    deep, shared, layer = random.Random(1), np.random.default_rng(1), torch.nn.Linear(1, 1)
    layer.generator = torch.Generator()
    transforms = SimpleNamespace(steps=[SimpleNamespace(random={"a": deep}), shared])
    root = SimpleNamespace(transforms=transforms, again=shared, data=[0] * 2000, network=torch.nn.Sequential(layer))
    root.itself = root
    assert generators_in(root) == [deep, shared, layer.generator]
    assert generators_in(root, root) == [deep, shared, layer.generator]
    assert generators_in(torch.zeros(2), [1], "text", None) == []
