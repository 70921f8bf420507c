"""Decides which objects a configuration may name: a YAML value never becomes code of its writer's choice.

A name is judged by the object it leads to, not by how it is spelt: `common.runner.os.system` begins with `common`, but
leads to a function of the operating system.
"""

import inspect
import logging
import logging.handlers
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from common.check.problem import Problem
from common.check.tree import join, nodes, resolve
from common.utils.misc import repository_path

ALLOWED_MODULES = (
    "common",
    "projects",
    "torch.nn",
    "torch.optim",
    "torch.utils.data",
    "torchmetrics",
    "torchvision.transforms",
    "pytorch_lightning",
    "hydra_plugins",
    "hydra._internal.core_plugins",
    "hydra_zen.funcs",
    "hydra_zen.structured_configs",
)
"""Whatever these modules and the modules below them define may be a target."""

GETTERS = (
    "hydra_zen.funcs.get_obj",
    "hydra.utils.get_class",
    "hydra.utils.get_method",
    "hydra.utils.get_object",
    "hydra.utils.get_static_method",
)
"""Functions that return the object at a dotted path, so that the path is judged too."""

ALLOWED_OBJECTS = ("functools.partial", *GETTERS)


REFUSED = (
    "common.check",  # Leads from names to objects.
    "pytorch_lightning.cli",  # Builds any class by its name.
    "torch.utils.data.datapipes",  # Unpickles bytes.
)
"""Modules that are not allowed, although a module above them is."""


def check_targets(tree: Any, registered: Collection[str], widened: Collection[str]) -> list[Problem]:
    """Returns a problem for each name in a configuration that it may not name.

    Args:
        tree: A configuration as plain containers.
        registered: The targets that the stores registered.
        widened: Modules and objects that the runner's `allowed_targets` adds.
    """
    return [
        Problem(
            path,
            f"{path}={name!r} is not an object that a configuration may name. Allowed is what the stores registered, "
            "what common and projects define, torch.nn, torch.optim, torch.utils.data, torchmetrics, "
            "torchvision.transforms and pytorch_lightning. A runner widens the list in Python: allowed_targets = (…,)",
        )
        for path, name in _named_objects(tree)
        if name not in registered and not is_allowed(name, widened)
    ]


def check_logging(tree: Any, path: str) -> list[Problem]:
    """Returns a problem for each part of a logging configuration that would call something other than a log handler."""
    problems = []
    for where, node in nodes(tree, path):
        for key, value in node.items():
            refusal = _logging_refusal(key, value)
            if refusal:
                problems.append(Problem(join(where, key), f"{join(where, key)}={value!r}: {refusal}"))
    return problems


def _logging_refusal(key: str, value: Any) -> str | None:
    if key == "()":
        return "a logging configuration must not name a factory."
    if key == "class" and not _is_log_handler(value):
        return "this is not one of Python's own log handlers."
    is_reference = isinstance(value, str) and value.startswith(("ext://", "cfg://"))
    if is_reference and value not in ("ext://sys.stdout", "ext://sys.stderr"):
        return "only ext://sys.stdout and ext://sys.stderr may be referred to."
    return None


def is_allowed(name: object, widened: Collection[str] = ()) -> bool:
    """Returns whether a configuration may name the object at a dotted path."""
    if not isinstance(name, str):
        return False
    roots = {module.partition(".")[0] for module in (*ALLOWED_MODULES, *ALLOWED_OBJECTS, *widened)}
    if name.partition(".")[0] not in roots | {"__main__"}:
        return False  # Not even imported.
    found = resolve(name)
    home = _home_of(found)
    if home is None or any(_is_below(home, module) for module in REFUSED):
        return False
    if _is_below(home, "pytorch_lightning") and not isinstance(found, type):
        return False  # Among its functions are some that unpickle files.
    return any(_is_below(home, allowed) for allowed in (*ALLOWED_MODULES, *ALLOWED_OBJECTS, *widened))


def _named_objects(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yields the path and the value of every key that names an object."""
    for path, node in nodes(tree):
        wrappers = node.get("_zen_wrappers") or []
        for key in ("_target_", "_zen_target"):
            if key in node:
                yield join(path, key), node[key]
        for wrapper in [wrappers] if isinstance(wrappers, str) else wrappers:
            if isinstance(wrapper, str):
                yield join(path, "_zen_wrappers"), wrapper
        if _is_getter(node.get("_target_")) or _is_getter(node.get("_zen_target")):
            for value in [node.get("path"), *(node.get("_args_") or [])]:
                if value is not None:
                    yield join(path, "path"), value


def _is_getter(name: object) -> bool:
    return isinstance(name, str) and is_allowed(name) and _home_of(resolve(name)) in GETTERS


def _home_of(found: Any) -> str | None:
    """Returns the dotted path under which an object was defined, or None where it is not one that can be judged."""
    module = getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None)
    if not (isinstance(found, type) or inspect.isroutine(found)) or not module or not name:
        return None
    if any(part.startswith("_") for part in name.split(".")):
        return None  # Private: runs git, for example.
    if isinstance(found, type):
        name = found.__qualname__
    elif "." in name and not _is_below(module, "common") and not _is_below(module, "projects"):
        return None  # Another package's method or closure: a loader among them would read any file.
    if module == "__main__":
        script = getattr(sys.modules["__main__"], "__file__", None)
        if script is None or not Path(script).resolve().is_relative_to(repository_path() / "projects"):
            return None
        module = "projects"
    return f"{module}.{name}"


def _is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _is_log_handler(name: object) -> bool:
    handlers = {"logging": logging, "logging.handlers": logging.handlers}
    module, _, leaf = str(name).rpartition(".")
    found = getattr(handlers.get(module), leaf, None)
    return isinstance(found, type) and issubclass(found, logging.Handler)
