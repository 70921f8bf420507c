"""Validators for annotated values, and shape checks for tensors.

A validator narrows a type: `Annotated[int, ge(0)]` admits whole numbers from 0. Its text (`≥ 0`) is what a person reads
when a value is refused.
"""

import random
from collections.abc import Callable
from typing import Any, TypeVar

import beartype._check.code.codemain as beartype_code
from beartype import BeartypeConf, beartype
from beartype.vale import Is
from jaxtyping import jaxtyped

BEARTYPE_CONF = BeartypeConf(is_pep484_tower=True)
"""How `common` and `projects` are checked: an int is accepted where a float is declared, as PEP 484 has it."""

# Beartype checks one random item of a list. Drawn from Python's own random state, a run's random numbers would depend
# on how often which function was called, on continuations too.
if hasattr(beartype_code, "getrandbits"):
    beartype_code.getrandbits = random.Random(0).getrandbits

Function = TypeVar("Function", bound=Callable[..., Any])


def shape_checked(function: Function) -> Function:
    """Decorates a function whose tensors carry jaxtyping shapes: an axis letter means one size throughout the call."""
    checked: Function = jaxtyped(typechecker=beartype(conf=BEARTYPE_CONF))(function)
    return checked


def _validator(is_valid: Callable[[Any], bool], text: str) -> Any:
    """Builds a beartype validator that describes itself with `text`."""
    validator = Is[lambda value: is_valid(value)]
    validator.get_repr = text
    return validator


def ge(bound: float) -> Any:
    """Admits values greater than or equal to `bound`."""
    return _validator(lambda value: value >= bound, f"≥ {bound}")


def gt(bound: float) -> Any:
    """Admits values greater than `bound`."""
    return _validator(lambda value: value > bound, f"> {bound}")


def le(bound: float) -> Any:
    """Admits values less than or equal to `bound`."""
    return _validator(lambda value: value <= bound, f"≤ {bound}")


def lt(bound: float) -> Any:
    """Admits values less than `bound`."""
    return _validator(lambda value: value < bound, f"< {bound}")


def one_of(*choices: object) -> Any:
    """Admits exactly the given choices."""
    return _validator(lambda value: value in choices, "one of " + ", ".join(map(repr, choices)))


def equal(expected: object) -> Any:
    """Admits exactly one value."""
    return _validator(lambda value: value == expected, f"equal to {expected!r}")


def not_empty() -> Any:
    """Admits strings and containers that hold something."""
    return _validator(lambda value: len(value) > 0, "not empty")
