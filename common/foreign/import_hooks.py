"""Python's import system: lets other packages' modules be executed in surroundings of our own, or later."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Surroundings = Callable[[], AbstractContextManager[None]]
"""Makes the context in which a module is executed."""

_surroundings: dict[str, Surroundings] = {}
_postponed: set[str] = set()


def execute_within(module: str, surroundings: Surroundings) -> None:
    """Lets a module, when it is imported, be executed within a context."""
    _surroundings[module] = surroundings
    _install()


def postpone(package: str) -> None:
    """Lets a package be executed when one of its own names is first asked for; modules inside it do not ask."""
    _postponed.add(package)
    _install()


def before_first_import(action: Callable[[], None], package: str, except_for: Sequence[str]) -> None:
    """Arranges that a function is called once, before the first module of a package is imported.

    Args:
        action: What to call.
        package: Its modules count, itself not.
        except_for: Modules of the package that do not count either.
    """

    def counts(name: str) -> bool:
        return name.startswith(f"{package}.") and name not in except_for

    sys.meta_path.insert(0, _FirstImportFinder(action, counts))


class _SurroundedLoader(Loader):
    def __init__(self, loader: Loader, surroundings: Surroundings) -> None:
        self.loader = loader
        self.surroundings = surroundings

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with self.surroundings():
            self.loader.exec_module(module)


class _PostponingLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def execute_first(name: str) -> Any:
            del module.__getattr__
            self.loader.exec_module(module)
            return getattr(module, name)

        module.__getattr__ = execute_first  # type: ignore[method-assign]


class _Finder(MetaPathFinder):
    """Finds the modules that are to be executed in another way, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _surroundings and fullname not in _postponed:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            surroundings = _surroundings.get(fullname)
            spec.loader = (
                _SurroundedLoader(spec.loader, surroundings) if surroundings else _PostponingLoader(spec.loader)
            )
        return spec


class _FirstImportFinder(MetaPathFinder):
    """Finds nothing, but calls a function when it is first asked for one of the modules that count."""

    def __init__(self, action: Callable[[], None], counts: Callable[[str], bool]) -> None:
        self.action = action
        self.counts = counts

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if self in sys.meta_path and self.counts(fullname):
            sys.meta_path.remove(self)
            self.action()


def _install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
