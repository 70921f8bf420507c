"""Judges values by the annotations of the objects that will receive them."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin

from hydra.errors import InstantiationException
from hydra_zen import instantiate

from common.check.annotations import admits, describe_hint, hints_of, is_built, is_finite, items_of
from common.check.problem import Problem
from common.check.tree import INSTANTIATION_KEYS, join, nodes, parameters_of, target_of
from common.utils.hydra import leaves
from common.utils.text import shown

MISSING = "???"


def check_values(tree: dict[str, Any], root_hints: Mapping[str, Any] | None = None) -> list[Problem]:
    """Returns a problem for each value that is missing, or that its receiver does not admit.

    Args:
        tree: A configuration as plain containers.
        root_hints: What is admitted at the top: the annotations of `run_subtask`.
    """
    problems = [_missing_problem(path) for path in _missing(tree)]
    problems += _wrong_values("", tree, root_hints or {}, {})
    for path, node in nodes(tree):
        target = target_of(node)
        if target is None:
            continue
        wrong = list(_wrong_values(path, node, hints_of(target), parameters_of(target)))
        problems += wrong
        if is_dataclass(target) and not wrong and not _missing(node):
            problems += _refusal(path, node, target)
    return problems


def _missing_problem(path: str) -> Problem:
    return Problem(path, f"{path} is missing: give it in the task file, or as {path}=<value>.", "missing")


def _wrong_values(
    path: str, node: dict[Any, Any], hints: Mapping[str, Any], parameters: Mapping[str, Any]
) -> Iterator[Problem]:
    for key, value in node.items():
        if key in INSTANTIATION_KEYS or value == MISSING:
            continue
        place, of_items = join(path, key), _hint_of_items(hints.get(key), value)
        if of_items is not None:  # Told at the item's own key.
            items = items_of(value) or {}
            yield from _wrong_values(place, items, dict.fromkeys(items, of_items), {})
        elif not is_finite(value) and is_finite(getattr(parameters.get(key), "default", None)):
            what = f"{place}={shown(value)} is not allowed: it must be a finite number, below 2^63."
            yield Problem(place, what, "not finite")
        elif key in hints and not admits(hints[key], value):
            kind = f"it must be {describe_hint(hints[key])}."
            yield Problem(place, f"{place}={_described(value)} is not allowed: {kind}", kind)


def _hint_of_items(hint: Any, value: Any) -> Any:
    """Returns what the items of a mapping from text are to be; None where it is no such mapping."""
    arguments = get_args(hint)
    is_mapping = get_origin(hint) in (dict, Mapping) and len(arguments) == 2 and arguments[0] is str
    if not is_mapping or not isinstance(value, dict):
        return None
    items = items_of(value)
    return arguments[1] if items is not None and all(isinstance(key, str) for key in items) else None


def _described(value: Any) -> str:
    """Returns a value as it is told; what would be built by its class alone."""
    if isinstance(value, dict) and is_built(value):
        partial = "a partial of " if value.get("_partial_") else ""
        return f"<{partial}{value.get('_zen_target', value['_target_'])}>"
    return shown(value)


def _refusal(path: str, node: dict[Any, Any], target: Any) -> list[Problem]:
    """Returns what a config dataclass says against the combination of its values."""
    values = {key: value for key, value in node.items() if key not in INSTANTIATION_KEYS}
    try:
        if any(is_built(inner) for _, inner in nodes(values)):
            instantiate({**node, "_partial_": False})
        else:  # The same, in a hundredth of the time.
            target(**values)
    except InstantiationException as error:
        return [Problem(path, f"{path}: {error.__cause__ or error}")]
    except Exception as error:  # Whatever a `__post_init__` raises.
        return [Problem(path, f"{path}: {error}")]
    return []


def _missing(tree: Any) -> list[str]:
    return [path for path, value in leaves(tree) if value == MISSING]
