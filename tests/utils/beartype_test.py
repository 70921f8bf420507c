"""The validators: what they admit, and how they describe themselves."""

import random
from typing import Annotated, Any

import pytest
from beartype.door import is_bearable
from beartype.roar import BeartypeCallHintParamViolation

from common.check.values import describe_hint
from common.launch.sweep import swept_keys
from common.run.metrics import MetricsFile  # noqa: F401  # Loads a checked module.
from common.utils.beartype import equal, ge, gt, le, lt, not_empty, one_of


@pytest.mark.parametrize(
    ("hint", "admitted", "refused"),
    [
        (Annotated[int, ge(0)], [0, 1], [-1, 0.5, "1", None]),
        (Annotated[float, gt(0)], [0.1], [0.0, -1.0]),
        (Annotated[int, le(3)], [3, -3], [4]),
        (Annotated[float, lt(1)], [0.999], [1.0, 2.0]),
        (Annotated[str, one_of("a", "b")], ["a", "b"], ["c", ""]),
        (Annotated[int, equal(3)], [3], [2]),
        (Annotated[str, not_empty()], ["x"], [""]),
        (Annotated[list[int], not_empty()], [[0]], [[], [""]]),
        (Annotated[float, ge(0), lt(1)], [0.0, 0.5], [1.0, -0.1]),
    ],
)
def test_a_validator_admits_and_refuses(hint: Any, admitted: list[Any], refused: list[Any]) -> None:
    assert [value for value in admitted if not is_bearable(value, hint)] == []
    assert [value for value in refused if is_bearable(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[int, ge(0)], "int ≥ 0"),
        (Annotated[float, gt(0), lt(1)], "float > 0 < 1"),
        (Annotated[int, le(3)], "int ≤ 3"),
        (Annotated[str, one_of("a", "b")], "str one of 'a', 'b'"),
        (Annotated[int, equal(3)], "int equal to 3"),
        (Annotated[str, not_empty()] | None, "str not empty or null"),
        (list[Annotated[int, ge(1)]], "list[int ≥ 1]"),
        (tuple[int, ...], "tuple[int, ...]"),
    ],
)
def test_a_hint_is_described_in_words(hint: Any, text: str) -> None:
    assert describe_hint(hint) == text


def test_a_violation_shows_the_validators_own_text() -> None:
    from common.launch.local import LocalResources

    with pytest.raises(BeartypeCallHintParamViolation, match="≥ 1"):
        LocalResources(cpus_per_task=0)


def test_checking_a_list_draws_no_random_number_of_the_runs() -> None:
    before = random.getstate()
    for _ in range(5):
        swept_keys(["a=1", "b=1,2"])
    assert random.getstate() == before
