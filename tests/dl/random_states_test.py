"""Random states are taken and restored, whatever was drawn in between."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from common.dl.random_states import as_plain_values, get_random_states, seed_everything, set_random_states

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
