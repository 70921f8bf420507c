"""Walks the nodes of a configuration that was turned into plain containers."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from common.utils.torch import import_torchvision

INSTANTIATION_KEYS = frozenset(
    {
        "_target_",
        "_partial_",
        "_convert_",
        "_recursive_",
        "_args_",
        "_zen_target",
        "_zen_partial",
        "_zen_exclude",
        "_zen_wrappers",
    }
)
"""Keys that steer how Hydra and hydra-zen build an object, and are never passed to it."""


def resolve(name: str) -> Any:
    """Returns the object at a dotted path, or None where there is none. Imports what lies on the way."""
    if name.startswith("__main__."):
        return getattr(sys.modules["__main__"], name.removeprefix("__main__."), None)
    module, _, leaf = name.rpartition(".")
    if module in sys.modules and leaf in vars(sys.modules[module]):  # Nearly always, and much faster.
        return vars(sys.modules[module])[leaf]
    parts = name.split(".")
    try:
        if parts[0] == "torchvision":
            import_torchvision()
        found: Any = importlib.import_module(parts[0])
        for index, part in enumerate(parts[1:], start=2):
            is_submodule = isinstance(found, ModuleType) and not hasattr(found, part)
            found = importlib.import_module(".".join(parts[:index])) if is_submodule else getattr(found, part)
    except Exception:  # Whatever a module that needs others raises while it is imported.
        return None
    return found


def nodes(tree: Any, path: str = "") -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yields the path and the content of every mapping, outermost first."""
    if isinstance(tree, dict):
        yield path, tree
        for key, value in tree.items():
            yield from nodes(value, join(path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from nodes(value, f"{path}[{index}]")


def select(tree: Any, key: str) -> Any:
    """Returns the value at a dotted key of nested mappings; None where there is none."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def join(path: str, key: object) -> str:
    """Appends a key to a dotted path."""
    return f"{path}.{key}" if path else str(key)


def target_of(node: dict[Any, Any]) -> Callable[..., Any] | None:
    """Returns the object that a node builds, or None where it is a plain mapping."""
    name = node.get("_zen_target", node.get("_target_"))
    return resolve(name) if isinstance(name, str) else None


@functools.cache
def parameters_of(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters that a call takes, or nothing where its signature cannot be read."""
    try:
        return dict(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return {}
