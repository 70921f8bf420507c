"""What parameters admit: by their annotations or, where a package has none that help, by what is declared here.

A value of a configuration is a plain one, or a mapping with `_target_` from which an object will be built. The first is
judged by beartype, the second by the class of the object.
"""

import collections.abc
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from beartype.door import is_bearable
from beartype.roar import BeartypeException

from common.check.tree import INSTANTIATION_KEYS, nodes, target_of
from common.utils.beartype import BEARTYPE_CONF

Target = TypeVar("Target", bound=Callable[..., Any])

LARGEST = 2**63

CALLABLE: Any = collections.abc.Callable

_DECLARED: dict[Any, dict[str, Any]] = {}


def declare(target: Target, **hints: Any) -> Target:
    """Declares what a call's parameters admit, in place of annotations that another package does not have."""
    _DECLARED[target] = hints
    hints_of.cache_clear()
    return target


@functools.cache
def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Returns what a call's parameters admit, as far as that is known."""
    function: Any = vars(target).get("__init__", target.__init__) if isinstance(target, type) else target  # type: ignore[misc]
    try:
        found = get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):  # Names imported for type checkers alone.
        found = {}
    return found | _DECLARED.get(target, {})


def describe_hint(hint: Any) -> str:
    """Returns what an annotation admits, in words: `int ≥ 0`, `one of 'cpu', 'gpu'`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([describe_hint(arguments[0]), *map(repr, arguments[1:])])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if _is_union(origin):
        return " or ".join(map(describe_hint, arguments))
    if hint is types.NoneType or hint is None:
        return "null"
    if origin is functools.partial:
        return f"a partial of {describe_hint(arguments[0])} (_partial_: true)"
    if origin is collections.abc.Callable or hint in (Callable, collections.abc.Callable):
        return "an object to call"
    if origin is not None and arguments:
        inner = ", ".join("..." if argument is ... else describe_hint(argument) for argument in arguments)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(hint, "__name__", str(hint))


def admits(hint: Any, value: Any) -> bool:
    """Returns whether a value, or what will be built from it, satisfies an annotation.

    YAML has no tuples, so a list may stand for one; true and false are no numbers, unless the annotation has them.
    """
    if isinstance(value, dict) and is_built(value):
        return _admits_node(hint, value)
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_union(origin):
        return any(admits(argument, value) for argument in arguments)
    if isinstance(value, bool) and hint in (int, float, complex):
        return False
    if origin is Annotated and isinstance(value, bool) and not admits(arguments[0], value):
        return False
    if any(is_built(inner) for _, inner in nodes(value)):
        return _admits_container(hint, value)
    if isinstance(value, list | dict) and origin is not Annotated and not _admits_items(hint, value):
        return False
    return _is_bearable(hint, value) or (isinstance(value, list) and _is_bearable(hint, tuple(value)))


def is_built(node: Mapping[Any, Any]) -> bool:
    """Returns whether an object is built from a mapping."""
    return "_target_" in node


def is_partial(node: Mapping[Any, Any]) -> bool:
    """Returns whether what is built from a mapping is to be called later."""
    return bool(node.get("_partial_") or node.get("_zen_partial"))


def is_finite(value: Any) -> bool:
    """Returns whether no number in a value is infinite, too large for a computer's, or none at all."""
    if isinstance(value, list):
        return all(map(is_finite, value))
    if isinstance(value, int):
        return abs(value) < LARGEST
    return not isinstance(value, float) or math.isfinite(value)


def items_of(value: dict[Any, Any]) -> dict[Any, Any] | None:
    """Returns what a mapping holds, be it a plain one or one that is built; None where something else is built."""
    if not is_built(value):
        return value
    if target_of(value) is not dict or is_partial(value):
        return None
    return {key: item for key, item in value.items() if key not in INSTANTIATION_KEYS}


def _is_union(origin: Any) -> bool:
    return origin is Union or origin is types.UnionType


def _is_bearable(hint: Any, value: Any) -> bool:
    try:
        return bool(is_bearable(value, hint, conf=BEARTYPE_CONF))
    except BeartypeException:  # An annotation of another package that beartype cannot read: nothing to judge by.
        return True


def _admits_items(hint: Any, value: Any) -> bool:
    """Judges every item: beartype looks at one only."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(value, list) and origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        return all(admits(arguments[0], item) for item in value)
    if isinstance(value, list) and origin is tuple and arguments:
        if arguments[-1] is ...:
            return all(admits(arguments[0], item) for item in value)
        return len(value) == len(arguments) and all(map(admits, arguments, value))
    if isinstance(value, dict) and origin in (dict, collections.abc.Mapping) and len(arguments) == 2:
        return all(admits(arguments[0], key) and admits(arguments[1], item) for key, item in value.items())
    return True


def _admits_container(hint: Any, value: Any) -> bool:
    """Judges a list or a plain mapping with something in it that is built."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _admits_container(get_args(hint)[0], value)
    if hint in (Any, object) or isinstance(hint, TypeVar):
        return True
    wanted = origin or hint
    if not isinstance(wanted, type):
        return True
    return issubclass(type(value), wanted) and _admits_items(hint, value) if origin else issubclass(type(value), wanted)


def _admits_node(hint: Any, node: dict[Any, Any]) -> bool:
    """Judges an object that is built by its class, or by what makes it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _admits_node(arguments[0], node)
    if _is_union(origin):
        return any(_admits_node(argument, node) for argument in arguments)
    if hint in (Any, object) or isinstance(hint, TypeVar | str):
        return True
    if origin is Literal or hint in (None, types.NoneType):
        return False
    target = target_of(node)
    wanted: Any = origin or hint
    if not isinstance(wanted, type) or target is None:
        return True
    if wanted is functools.partial:
        return is_partial(node) and (not arguments or _gives(target, arguments[0]))
    if wanted is CALLABLE:
        return is_partial(node) or not isinstance(target, type) or "__call__" in dir(target)
    return not is_partial(node) and _gives(target, hint)


def _gives(target: Callable[..., Any], hint: Any) -> bool:
    """Returns whether a call may give what an annotation wants; of a function nothing is known."""
    wanted = get_origin(hint) or hint
    if not isinstance(target, type) or not isinstance(wanted, type):
        return True
    if inspect.isabstract(wanted) and getattr(wanted, "_is_protocol", False):
        return True
    try:
        return issubclass(target, wanted)
    except TypeError:  # A protocol with attributes.
        return True
