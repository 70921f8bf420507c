"""Decides which objects a configuration may name: a YAML value never becomes code of its writer's choice.

A name is judged by the object it leads to, not by how it is spelt or where it lies: `common.runner.os.system` begins
with `common`, but leads to a function of the operating system; `torch.load` is torch's own, but no part of a model.
"""

import functools
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from common.check.problem import Problem
from common.check.tree import join, nodes, resolve
from common.utils.misc import repository_path
from common.utils.text import shown

COMPONENTS = (
    "projects",
    "common.config",
    "common.dl.config",
    "common.dl.datamodule",
    "common.dl.litmodule",
    "common.ne.config",
    "common.ne.algorithm",
    "common.ne.evaluator",
    "common.ne.population",
)
"""Where our own classes lie that a configuration is made of; the rest of `common` is what runs it."""

KINDS: dict[str, tuple[str, ...]] = {
    "torch.nn": ("torch.nn.Module",),
    "torch.optim": ("torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    "torch.utils.data": ("torch.utils.data.Dataset", "torch.utils.data.Sampler", "torch.utils.data.DataLoader"),
    "torchmetrics": ("torchmetrics.Metric", "torchmetrics.MetricCollection"),
    "torchvision.transforms": (
        "torch.nn.Module",
        "collections.abc.Callable",  # Most transforms have no class in common.
        "torchvision.transforms.InterpolationMode",
    ),
    "pytorch_lightning": tuple(
        f"pytorch_lightning.{name}"
        for name in (
            *("Trainer", "LightningModule", "LightningDataModule", "Callback", "loggers.Logger"),
            *("strategies.Strategy", "profilers.Profiler", "accelerators.Accelerator", "plugins.Precision"),
            *("plugins.ClusterEnvironment", "plugins.CheckpointIO", "plugins.LayerSync"),
        )
    ),
}
"""By package, the classes whose subclasses a configuration is made of."""

REFUSED = (
    "pytorch_lightning.cli",  # Builds any class by its name.
    "pytorch_lightning.demos",  # Unpickles files.
    "pytorch_lightning.serve",  # Starts a server.
    "torch.utils.data.datapipes",  # Unpickles bytes, opens files and addresses.
)
"""Modules whose classes are of these kinds, and are refused."""

EMITTED = ("hydra_zen.funcs.zen_processing", "hydra_zen.funcs.get_obj")
"""What our builders write into configurations beside the object itself, which is judged like any other."""

ALLOWED_IN_WORDS = (
    "Allowed is what the stores registered; classes of projects, and those of common that a configuration is made of; "
    "and modules, optimisers, schedulers, datasets, samplers, metrics, transforms, callbacks, loggers, strategies and "
    "profilers that are public classes of torch.nn, torch.optim, torch.utils.data, torchmetrics, "
    "torchvision.transforms and pytorch_lightning. A runner widens the list in Python: allowed_targets = (…,)"
)

_STEERING: dict[str, tuple[Any, ...]] = {
    "_partial_": (True, False),
    "_recursive_": (True, False),
    "_zen_partial": (True, False),
    "_convert_": ("none", "partial", "object", "all"),
}


def check_targets(tree: Any, registered: Mapping[str, Collection[str]], widened: Collection[str]) -> list[Problem]:
    """Returns a problem for each name in a configuration that it may not name, and for what would change the call.

    Args:
        tree: A configuration as plain containers.
        registered: What the stores registered: for each target the keys that its configurations declare.
        widened: Modules and objects that the runner's `allowed_targets` adds.
    """
    problems = []
    for path, node in nodes(tree):
        problems += [
            Problem(key, f"{key}={shown(name)} is not an object that a configuration may name. {ALLOWED_IN_WORDS}")
            for key, name, is_wrapper in _named_objects(path, node)
            if not (_is_registered(name, registered) or (not is_wrapper and is_allowed(name, widened)))
        ]
        problems += _wrong_steering(path, node, registered)
    return problems


def is_allowed(name: object, widened: Collection[str] = ()) -> bool:
    """Returns whether a configuration may name the object at a dotted path, be it registered or not."""
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        return False
    if name in EMITTED:
        return _is_where_it_says(resolve(name), name)
    return _is_widened(name, widened) or _is_own(name) or _is_of_a_kind(name)


def _named_objects(path: str, node: dict[Any, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Yields the key and the value of every entry that names an object, and whether that would wrap another."""
    for key in ("_target_", "_zen_target"):
        if key in node:
            yield join(path, key), node[key], False
    wrappers = node.get("_zen_wrappers")
    for wrapper in wrappers if isinstance(wrappers, list) else [] if wrappers is None else [wrappers]:
        yield join(path, "_zen_wrappers"), wrapper, True
    if EMITTED[1] in (node.get("_target_"), node.get("_zen_target")):
        yield join(path, "path"), node.get("path"), False


def _is_registered(name: object, registered: Collection[str]) -> bool:
    return isinstance(name, str) and name in registered


def _wrong_steering(path: str, node: dict[Any, Any], registered: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    """Yields what is wrong with the keys that say how a call is made."""
    name = node.get("_zen_target", node.get("_target_"))
    if "_args_" in node and not (isinstance(name, str) and "_args_" in registered.get(name, ())):
        key = join(path, "_args_")
        yield Problem(key, f"{key}={shown(node['_args_'])} is not allowed: give arguments by their names.")
    for key, allowed in _STEERING.items():
        if key in node and not any(node[key] is one or node[key] == one != 1 for one in allowed):
            words = ", ".join(str(one).lower() for one in allowed)
            place = join(path, key)
            yield Problem(place, f"{place}={shown(node[key])} is not allowed: it must be one of {words}.")


def _is_widened(name: str, widened: Collection[str]) -> bool:
    if not any(_is_below(name, module) for module in widened):
        return False
    found = resolve(name)
    home = _home_of(found)
    return home is not None and callable(found) and any(_is_below(home, module) for module in widened)


def _is_own(name: str) -> bool:
    """Returns whether a name leads to a class of ours that a configuration is made of."""
    if name.startswith("__main__."):
        found = resolve(name)
        return isinstance(found, type) and found.__module__ == "__main__" and _is_project_script()
    if not any(_is_below(name, module) for module in COMPONENTS) or "__main__" in name.split("."):
        return False
    found = resolve(name)
    home = _home_of(found)
    return isinstance(found, type) and home is not None and any(_is_below(home, module) for module in COMPONENTS)


def _is_of_a_kind(name: str) -> bool:
    """Returns whether a name leads to a public class of a library that a configuration is made of."""
    package = next((package for package in KINDS if name.startswith(f"{package}.")), None)
    if package is None or any(part.startswith("_") for part in name.split(".")):
        return False  # Not even imported.
    if any(_is_below(name, module) for module in REFUSED):
        return False
    found = resolve(name)
    home = _home_of(found)
    if not isinstance(found, type) or home is None or found.__name__.startswith("_"):
        return False
    if any(_is_below(home, module) for module in REFUSED) or not _is_home(home, package):
        return False
    return issubclass(found, _kinds_of(package))


@functools.cache
def _kinds_of(package: str) -> tuple[type, ...]:
    found = map(resolve, KINDS[package])
    return tuple(kind for kind in found if isinstance(kind, type))


def _is_home(home: str, package: str) -> bool:
    """Returns whether an object's home is in the package that it was named by, or in the one below that."""
    top = package.partition(".")[0]
    if package == "torchvision.transforms":
        return _is_below(home, package)
    return _is_below(home, top) or (top == "pytorch_lightning" and _is_below(home, "lightning_fabric"))


def _home_of(found: Any) -> str | None:
    """Returns the dotted path under which an object was defined, or None where that leads to another one."""
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    if any(part.startswith("_") for part in name.split(".")):
        return None
    home = f"{module}.{name}"
    return home if _is_where_it_says(found, home) else None


def _is_where_it_says(found: Any, home: str) -> bool:
    return found is not None and resolve(home) is found


def _is_project_script() -> bool:
    script = getattr(sys.modules["__main__"], "__file__", None)
    return script is not None and Path(script).resolve().is_relative_to(repository_path() / "projects")


def _is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")
