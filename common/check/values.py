"""Judges values by the annotations of the objects that will receive them."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from beartype.door import is_bearable
from beartype.roar import BeartypeException
from hydra.errors import InstantiationException
from hydra_zen import instantiate

from common.check.problem import Problem
from common.check.tree import INSTANTIATION_KEYS, hints_of, join, nodes, target_of
from common.utils.beartype import BEARTYPE_CONF
from common.utils.hydra import leaves

MISSING = "???"


def check_values(tree: dict[str, Any]) -> list[Problem]:
    """Returns a problem for each value that is missing, or that its receiver's annotation does not admit.

    Args:
        tree: A configuration as plain containers.
    """
    problems = [
        Problem(path, f"{path} is missing: give it in the task file, or as {path}=<value>.") for path in _missing(tree)
    ]
    for path, node in nodes(tree):
        target = target_of(node)
        if target is None:
            continue
        wrong = list(_wrong_values(path, node, hints_of(target)))
        problems += wrong
        if is_dataclass(target) and not wrong and not _missing(node):
            problems += _refusal(path, node)
    return problems


def describe_hint(hint: Any) -> str:
    """Returns what an annotation admits, in words: `int ≥ 0`, `one of 'cpu', 'gpu'`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([describe_hint(arguments[0]), *map(repr, arguments[1:])])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(describe_hint, arguments))
    if hint is NoneType:
        return "null"
    if origin is not None and arguments:
        inner = ", ".join("..." if argument is ... else describe_hint(argument) for argument in arguments)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(hint, "__name__", str(hint))


def admits(hint: Any, value: Any) -> bool:
    """Returns whether a value satisfies an annotation; YAML has no tuples, so a list may stand for one."""
    try:
        if get_origin(hint) is list and isinstance(value, list):
            return all(admits(get_args(hint)[0], item) for item in value)  # Beartype looks at one item only.
        if is_bearable(value, hint, conf=BEARTYPE_CONF):
            return True
        return isinstance(value, list) and is_bearable(tuple(value), hint, conf=BEARTYPE_CONF)
    except BeartypeException:  # An annotation of another package that beartype cannot read: nothing to judge by.
        return True


def _wrong_values(path: str, node: dict[Any, Any], hints: dict[str, Any]) -> Iterator[Problem]:
    for key, value in node.items():
        is_built = any("_target_" in inner for _, inner in nodes(value))
        if key in INSTANTIATION_KEYS or key not in hints or is_built or value == MISSING:
            continue
        if not admits(hints[key], value):
            place = join(path, key)
            yield Problem(place, f"{place}={value!r} is not allowed: it must be {describe_hint(hints[key])}.")


def _refusal(path: str, node: dict[Any, Any]) -> list[Problem]:
    """Returns what a config dataclass says against the combination of its values."""
    try:
        instantiate({**node, "_partial_": False})
    except InstantiationException as error:
        return [Problem(path, f"{path}: {error.__cause__ or error}")]
    return []


def _missing(tree: Any) -> list[str]:
    return [path for path, value in leaves(tree) if value == MISSING]
