"""torch's compiler is loaded when something is compiled, not at each start.

torch._dynamo takes 1.6 s of processor time (torch 2.13). Lightning loads it for one class, of which it asks whether a
network is an instance; a decorator of its own loads it; and torch's optimisers ask it what not to compile. As long as
nothing is compiled a stand-in answers all of them; whoever asks it for anything else gets the real one, loaded at that
moment.

Private names used: `torch._dynamo`, `torch._disable_dynamo`, and `__dynamo_disable`, torch's mark on functions.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from common.foreign.import_hooks import execute_within

DYNAMO = "torch._dynamo"


def install() -> None:
    """Puts the stand-in where the compiler would be, unless that is loaded already."""
    sys.modules.setdefault(DYNAMO, _PostponedDynamo())
    for module in ("lightning_fabric.wrappers", "pytorch_lightning.utilities.compile"):
        execute_within(module, _without_dynamo)
    execute_within("pytorch_lightning.trainer.connectors.logger_connector.result", _disabling_late)


def forget_compiled() -> None:
    """Lets the compiler, where it is loaded, begin afresh: it compiles a function for so many networks and no more."""
    dynamo = sys.modules.get(DYNAMO)
    if dynamo is not None and not isinstance(dynamo, _PostponedDynamo):
        dynamo.reset()


class _AsksTheRealClass(type):
    """Makes `isinstance` ask `torch._dynamo.OptimizedModule`, once that exists."""

    def __instancecheck__(cls, instance: object) -> bool:
        dynamo = sys.modules[DYNAMO]
        return not isinstance(dynamo, _PostponedDynamo) and isinstance(instance, dynamo.OptimizedModule)


class _OptimizedModule(metaclass=_AsksTheRealClass):
    """Stands in for the class of a network that `torch.compile` has wrapped."""


class _PostponedDynamo(ModuleType):
    """Stands in for torch._dynamo until it is asked for more than is defined here."""

    def __init__(self) -> None:
        super().__init__(DYNAMO)
        self.__spec__ = ModuleSpec(DYNAMO, loader=None)  # `importlib.util.find_spec` asks for one.
        self._undisabled: list[Any] = []

    def graph_break(self) -> None:
        """Does nothing: there is no graph."""

    def disable(self, *arguments: Any, **keywords: Any) -> Any:
        """Returns a function of torch's own as it is; torch asks like this at its first call, and notes the answer."""
        if keywords != {"wrapping": False}:
            return self.__getattr__("disable")(*arguments, **keywords)
        function = arguments[0]
        self._undisabled.append(function)
        return function

    def __getattr__(self, name: str) -> Any:
        """Gives way to the real module."""
        if name == "__file__":  # The module inspect asks all modules for it.
            raise AttributeError(name)
        if sys.modules.get(DYNAMO) is self:
            del sys.modules[DYNAMO]
            for function in self._undisabled:  # So that torch asks again.
                vars(function).pop("__dynamo_disable", None)
        return getattr(importlib.import_module(DYNAMO), name)


@contextmanager
def _without_dynamo() -> Iterator[None]:
    """Lets `from torch._dynamo import OptimizedModule` give the stand-in, in a module that wants nothing else of it."""
    before = sys.modules[DYNAMO]
    stand_in = ModuleType(DYNAMO)
    stand_in.OptimizedModule = _OptimizedModule  # type: ignore[attr-defined]
    sys.modules[DYNAMO] = stand_in
    try:
        yield
    finally:
        sys.modules[DYNAMO] = before


@contextmanager
def _disabling_late() -> Iterator[None]:
    """Lets `torch.compiler.disable` load torch._dynamo when the decorated function is first called, not before."""
    torch: Any = importlib.import_module("torch")
    eager = torch.compiler.disable
    torch.compiler.disable = torch._disable_dynamo
    try:
        yield
    finally:
        torch.compiler.disable = eager
