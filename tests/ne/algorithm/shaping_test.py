"""What ranks are worth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.ne.algorithm.shaping import centered_ranks, nes_utilities, without_nan


def test_the_best_of_centered_ranks_gets_a_half_and_the_worst_minus_a_half() -> None:
    np.testing.assert_allclose(centered_ranks(np.array([3.0, -7.0, 1e9])), [0.0, -0.5, 0.5])


def test_nes_utilities_are_the_paper_s() -> None:
    raw = np.array([np.log(3), np.log(3) - np.log(2), 0.0, 0.0])
    expected = raw / raw.sum() - 1 / 4
    np.testing.assert_allclose(nes_utilities(np.array([4.0, 3.0, 2.0, 1.0])), expected)


@pytest.mark.parametrize("shape", [centered_ranks, nes_utilities])
@pytest.mark.parametrize("size", [2, 3, 8, 33])
def test_worths_add_up_to_zero_and_grow_with_fitness(shape: Callable[..., Any], size: int) -> None:
    fitness = np.random.default_rng(0).standard_normal(size)
    worths = shape(fitness)
    assert abs(worths.sum()) < 1e-12
    assert (np.diff(worths[np.argsort(fitness)]) >= 0).all()
    np.testing.assert_array_equal(worths, shape(1e6 * fitness - 5))


@pytest.mark.parametrize("shape", [centered_ranks, nes_utilities])
def test_equal_fitness_is_worth_the_same_wherever_it_stands(shape: Callable[..., Any]) -> None:
    worths = shape(np.array([1.0, 5.0, 1.0, 9.0, 1.0]))
    assert len({worths[0], worths[2], worths[4]}) == 1
    assert abs(worths.sum()) < 1e-12
    np.testing.assert_allclose(shape(np.full(6, -200.0)), 0.0, atol=1e-15)


@pytest.mark.parametrize("shape", [centered_ranks, nes_utilities])
def test_nan_is_worth_as_little_as_minus_infinity(shape: Callable[..., Any]) -> None:
    with_nan = np.array([1.0, np.nan, 2.0, np.nan, -1e300])
    worths = shape(with_nan)
    assert np.isfinite(worths).all()
    assert worths[1] == worths[3] == worths.min()
    np.testing.assert_array_equal(worths, shape(np.where(np.isnan(with_nan), -np.inf, with_nan)))
    np.testing.assert_allclose(shape(np.full(4, np.nan)), 0.0, atol=1e-15)


def test_nan_is_counted() -> None:
    fitness, count = without_nan(np.array([np.nan, 1.0, np.nan, -np.inf]))
    np.testing.assert_array_equal(fitness, [-np.inf, 1.0, -np.inf, -np.inf])
    assert count == 2
