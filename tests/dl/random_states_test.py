"""Random states are taken and restored, whatever was drawn in between."""

import contextlib
import random
from typing import Any

import numpy as np
import pytest
import torch

from common.dl.random_states import (
    as_plain_values,
    get_random_states,
    seed_everything,
    set_random_states,
    untouched_random_states,
)

DRAWS = {
    "python": lambda: [random.random(), random.gauss(0, 1)],
    "numpy": lambda: np.random.rand(3).tolist(),
    "numpy, one normal number": lambda: [np.random.randn()],
    "torch": lambda: torch.rand(3).tolist(),
}


@pytest.mark.parametrize("num_before", [0, 1, 2, 3])
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_what_was_taken_is_restored(draw: Any, num_before: int) -> None:
    seed_everything(3)
    for _ in range(num_before):
        draw()
        get_random_states()
    states = as_plain_values(get_random_states())
    expected = [draw() for _ in range(4)]
    set_random_states(states)
    assert [draw() for _ in range(4)] == expected


def test_a_state_that_was_taken_does_not_change_with_the_next() -> None:
    seed_everything(3)
    states = get_random_states()
    before = str(as_plain_values(states))
    np.random.rand()
    get_random_states()
    assert str(as_plain_values(states)) == before


def test_a_generator_of_another_kind_is_no_obstacle() -> None:
    before = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        states = as_plain_values(get_random_states())
        expected = np.random.rand()
        get_random_states()
        set_random_states(states)
        assert np.random.rand() == expected
    finally:
        np.random.set_bit_generator(before)


@pytest.mark.parametrize("seed", [0, 3, 2**32 + 7])
def test_a_seed_is_the_one_that_each_library_would_be_given(seed: int) -> None:
    seed_everything(seed)
    assert random.random() == random.Random(seed).random()
    assert np.random.rand() == np.random.RandomState(seed % 2**32).rand()
    assert torch.rand(3).tolist() == torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_drawn_in_the_block_is_not_missed_after_it(fails: bool) -> None:
    def draw() -> list[Any]:
        return [random.random(), random.gauss(0, 1), np.random.randn(), np.random.rand(), torch.rand(2).tolist()]

    seed_everything(3)
    draw()
    states = as_plain_values(get_random_states())
    expected = [draw(), draw()]
    set_random_states(states)
    with contextlib.suppress(ZeroDivisionError), untouched_random_states():
        assert draw() == expected[0]
        seed_everything(9)
        assert not fails or 1 / 0
    assert [draw(), draw()] == expected


def test_states_are_tensors_and_plain_values_alone() -> None:
    states = as_plain_values(get_random_states())
    assert states["cuda"] == []
    version, internal, gauss = states["python"]
    assert (version, tuple(internal), gauss) == random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    assert states["numpy"]["state"]["key"].tolist() == numpy_state["state"]["key"].tolist()
    assert states["numpy"]["state"]["pos"] == numpy_state["state"]["pos"]
    assert torch.equal(states["torch"], torch.get_rng_state())
