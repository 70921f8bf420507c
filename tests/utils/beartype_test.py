"""The validators: what they admit, and how they describe themselves."""

import random
from typing import Annotated, Any

import pytest
import torch
from beartype.door import is_bearable
from beartype.roar import BeartypeCallHintParamViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from common.check.annotations import describe_hint
from common.launch.sweep.search import swept_keys
from common.run.metrics import MetricsFile  # noqa: F401  # Loads a checked module.
from common.utils.beartype import equal, ge, gt, le, lt, not_empty, one_of, shape_checked


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
    from common.launch.resources import Resources

    with pytest.raises(BeartypeCallHintParamViolation, match="≥ 1"):
        Resources(cpus_per_task=0)


@shape_checked
def scaled(x: Float[Tensor, " B I"], factor: Float[Tensor, " B"]) -> Float[Tensor, " B I"]:
    return (x * factor[:, None])[:, : int(x[0, 0])]


def test_a_shape_is_judged_anew_whatever_was_found_right_before() -> None:
    wide, ones = torch.full((2, 3), 3.0), torch.ones(2)
    for _ in range(3):
        assert scaled(wide, ones).shape == (2, 3)
    with pytest.raises(TypeCheckError, match="factor"):
        scaled(wide, torch.ones(3))
    with pytest.raises(TypeCheckError, match="factor"):
        scaled(wide, factor=torch.ones(3))
    with pytest.raises(TypeCheckError, match="x"):
        scaled(wide.double().long(), ones)
    with pytest.raises(TypeCheckError, match="return"):  # The same input shapes, another output.
        scaled(wide - 1, ones)
    assert scaled(wide, ones).shape == (2, 3)


def test_what_was_found_right_is_not_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    x, ones = torch.full((4, 2), 2.0), torch.ones(4)
    scaled(x, ones)
    monkeypatch.setattr("jaxtyping._array_types._MetaAbstractArray.__instancecheck__", lambda *_: False)
    scaled(x, ones)
    with pytest.raises(TypeCheckError):
        scaled(x[:3], ones[:3])


@shape_checked
def split(parts: dict[str, Float[Tensor, " B"]], at: int) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    return parts["a"], parts["b"][:at]


def test_containers_are_judged_by_what_is_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ones = torch.ones(6)
    assert len(split({"a": ones, "b": ones}, 6)) == 2
    with pytest.raises(TypeCheckError, match="return"):
        split({"a": ones, "b": ones}, 5)
    with pytest.raises(TypeCheckError, match="parts"):
        split({"a": ones, "b": torch.ones(6, dtype=torch.int64)}, 6)
    with pytest.raises(TypeCheckError):
        split({"a": ones, "b": torch.ones(6, 1)}, 6)
    monkeypatch.setattr("jaxtyping._array_types._MetaAbstractArray.__instancecheck__", lambda *_: False)
    split({"a": ones, "b": ones}, 6)
    with pytest.raises(TypeCheckError):
        split({"b": ones[:5], "a": ones[:5]}, 5)


def test_checking_a_list_draws_no_random_number_of_the_runs() -> None:
    before = random.getstate()
    for _ in range(5):
        swept_keys(["a=1", "b=1,2"])
    assert random.getstate() == before
