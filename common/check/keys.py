"""Finds keys that nothing declares, so that a slip of the pen never becomes a setting that has no effect."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from common.check.problem import Problem
from common.check.tree import INSTANTIATION_KEYS, join, parameters_of, target_of
from common.utils.misc import nearest
from common.utils.text import short, shown


def check_keys(
    tree: dict[str, Any], root_keys: frozenset[str], target_keys: Mapping[str, frozenset[str]]
) -> list[Problem]:
    """Returns a problem for each key that no configuration declares, with the nearest declared one.

    Args:
        tree: A configuration as plain containers.
        root_keys: The top-level keys.
        target_keys: For each registered target, the keys that its registered configurations declare.
    """
    declared: list[str] = []
    unknown: list[tuple[str, Any]] = []
    for path, value, known in _walk(tree, "", root_keys, target_keys):
        if known:
            declared.append(path)
        else:
            unknown.append((path, value))
    return [Problem(path, _describe(path, value, declared)) for path, value in unknown]


def _walk(
    node: dict[Any, Any], path: str, keys: frozenset[str] | None, target_keys: Mapping[str, frozenset[str]]
) -> Iterator[tuple[str, Any, bool]]:
    """Yields each key's path and value, and whether it is declared. `keys` is None where every key is free."""
    steering: Collection[str] = INSTANTIATION_KEYS if path else ()  # At the top nothing is built.
    is_call = target_of(node) is not None
    if keys is not None:
        yield from ((join(path, key), None, True) for key in keys)
    for key, value in node.items():
        place = join(path, key)
        is_free = keys is None and (isinstance(key, str) or not is_call)  # Names of arguments are text.
        if is_free or (keys is not None and key in keys) or key in steering:
            yield from _walk_value(value, place, target_keys)
        else:
            yield place, value, False


def _walk_value(value: Any, path: str, target_keys: Mapping[str, frozenset[str]]) -> Iterator[tuple[str, Any, bool]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk_value(item, f"{path}[{index}]", target_keys)
    elif isinstance(value, dict):
        yield from _walk(value, path, declared_keys(value, target_keys), target_keys)


def declared_keys(node: dict[Any, Any], target_keys: Mapping[str, frozenset[str]]) -> frozenset[str] | None:
    """Returns the keys that a node may have, or None where it may have any: it builds nothing, or a mapping."""
    target = target_of(node)
    if target is None or target is dict:
        return None
    parameters = parameters_of(target)
    registered = target_keys.get(str(node.get("_target_")))
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if takes_any and registered is None:
        return None
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    named = {name for name, parameter in parameters.items() if parameter.kind not in variadic}
    return frozenset(named) | (registered or frozenset())


def _describe(path: str, value: Any, declared: list[str]) -> str:
    if path == "task":
        return "The task file's content landed under the key 'task': its first line must be '# @package _global_'."
    meant = nearest(path, declared)
    hint = f" Did you mean {meant}?" if meant else ""
    received = "" if isinstance(value, dict | list) else f" Received: {shown(value, 60)}."
    return f"No configuration declares the key {short(path)}.{hint}{received if not hint else ''}"
