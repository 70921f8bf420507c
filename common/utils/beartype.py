"""Validators for annotated values, and shape checks for tensors.

A validator narrows a type: `Annotated[int, ge(0)]` admits whole numbers from 0. Its text (`≥ 0`) is what a person reads
when a value is refused.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast, no_type_check

from beartype import BeartypeConf, beartype
from beartype.vale import Is

from common.foreign.beartype import draw_from_own_numbers

BEARTYPE_CONF = BeartypeConf(is_pep484_tower=True)
"""How `common` and `projects` are checked: an int is accepted where a float is declared, as PEP 484 has it."""

draw_from_own_numbers()

Function = TypeVar("Function", bound=Callable[..., Any])


def shape_checked(function: Function) -> Function:
    """Decorates a function whose tensors carry jaxtyping shapes: an axis letter means one size throughout the call.

    A judgement takes a tenth of a millisecond and depends on nothing but types and shapes, which repeat from step to
    step: what was found right once is remembered, for calls that pass, by position, nothing but tensors, whole numbers,
    and tuples and dictionaries of these. A shape that depends on an attribute of `self` must not be annotated.
    """
    import jaxtyping  # Only here: it brings NumPy, for which `ai-research` has no use.

    judged = _judged(function)
    plain = inspect.unwrap(function)  # Without the checks that beartype's import hook adds to it.
    num_skipped = int(next(iter(inspect.signature(plain).parameters), "") == "self")
    outcomes: dict[Any, Any] = {}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return plain(*args, **kwargs)
        given = None if kwargs else _kinds(args[num_skipped:])
        if given not in outcomes:
            output = judged(*args, **kwargs)
            outcome = _kinds((output,))
            if given is not None and outcome is not None:
                outcomes[given] = outcome
            return output
        output = plain(*args)
        if _kinds((output,)) != outcomes[given]:
            _judged(functools.wraps(plain)(lambda *_: output))(*args)
        return output

    return cast(Function, no_type_check(checked))  # Beartype need not judge once more.


def _judged(function: Callable[..., Any]) -> Callable[..., Any]:
    from jaxtyping import jaxtyped

    judged: Callable[..., Any] = jaxtyped(typechecker=beartype(conf=BEARTYPE_CONF))(function)
    return judged


def _kinds(values: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Returns what jaxtyping judges values by, or None if one of them is of another kind."""
    try:
        return tuple(_kind(value) for value in values)
    except AttributeError:
        return None


def _kind(value: Any) -> Any:
    """Returns what a value is judged by.

    Raises:
        AttributeError: it is no tensor, no whole number, and no container of these.
    """
    kind = type(value)
    if kind is int:
        return value
    if kind is tuple:
        return tuple(_kind(item) for item in value)
    if kind is dict:
        return frozenset((name, _kind(item)) for name, item in value.items())
    return kind, value.dtype, value.shape


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
