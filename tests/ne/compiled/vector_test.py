"""Vectors compute what NumPy computes, to the last bit; numbers are taken once; rows are views."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from common.ne.compiled import vector  # noqa: E402  # Numba is there.


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    jitted: Callable[..., Any] = numba.njit(nogil=True)(function)
    return jitted


@pytest.mark.parametrize("operation", vector.INSTRUCTIONS)
def test_operators_give_the_bits_of_numpy(operation: Callable[..., Any]) -> None:
    @compiled
    def run(left: Any, right: Any, results: Any) -> None:
        vector.store(results, 1, operation(vector.load(left, 1), vector.load(right, 0)))
        vector.store(results, 9, operation(vector.load(left, 1), 3.0))
        vector.store(results, 17, operation(3.0, vector.load(left, 1)))

    left, right = np.random.default_rng(0).standard_normal((2, 9))
    results = np.zeros(26)
    run(left, right, results)
    values = left[1:], right[:8]
    expected = [operation(*values), operation(values[0], 3.0), operation(3.0, values[0])]
    np.testing.assert_array_equal(results, np.concatenate([[0.0], *expected, [0.0]]))


def test_a_row_is_a_view_and_needs_rows_that_lie_together() -> None:
    @compiled
    def fill(matrix: Any, index: int) -> None:
        row = vector.row_of(matrix, index)
        for place in range(len(row)):
            row[place] = place + 1

    matrix = np.zeros((3, 4))
    fill(matrix, 1)
    assert matrix.tolist() == [[0, 0, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]]
    with pytest.raises(AssertionError):
        fill(np.asfortranarray(matrix), 1)


def test_threads_never_take_the_same_number() -> None:
    @compiled
    def take(counter: Any, numbers: Any) -> None:
        for place in range(len(numbers)):
            numbers[place] = vector.take_number(counter)

    counter, numbers = np.zeros(1, np.int64), np.zeros((3, 100_000), np.int64)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda own: take(counter, own), numbers))
    assert counter[0] == 300_000
    assert np.unique(numbers).tolist() == list(range(300_000))
