"""Keeps packages that a run does not use from being loaded, installed or not.

torchmetrics, which pytorch_lightning imports, loads every optional package that it finds: torchvision brings
torch._dynamo's model zoo hooks, scipy its signal module, transformers half of a hub, matplotlib its fonts. That costs
seconds at every start, and a torchvision compiled for CUDA beside a CPU build of torch even ends the import with
"operator torchvision::nms does not exist". So torchmetrics is imported as if these packages were not installed.

torch's compiler, torch._dynamo, takes a second. Lightning loads it for one class of which it asks whether a network is
an instance, and torch's optimisers to tell it what not to compile. As long as nothing is compiled a stand-in answers
both; whoever asks it for anything else gets the real one, loaded at that moment.

W&B imports its launcher of jobs, which takes a third of a second, for one small module inside it at the start of each
run. The package around that module is postponed until one of its own names is asked for.

A program that needs a metric built on one of them imports that package before `common`: what is loaded already is
left in sight.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

DYNAMO = "torch._dynamo"

HIDDEN_PACKAGES = (
    "gymnasium",
    "librosa",
    "matplotlib",
    "onnxruntime",
    "pandas",
    "scienceplots",
    "scipy",
    "torchaudio",
    "torchvision",
    "transformers",
)
"""Optional packages that torchmetrics would load, and that no run needs before its first step."""


@contextmanager
def hidden(packages: Sequence[str]) -> Iterator[None]:
    """Makes the packages that are not loaded yet look as if they were not installed."""
    imports: Any = importlib.import_module("lightning_utilities.core.imports")

    names = [name for name in packages if name not in sys.modules]
    installed_version = imports._version

    def version(name: str) -> Any:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed_version(name)

    imports._version = version
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: the import system's mark for "absent"
    try:
        yield
    finally:
        imports._version = installed_version
        for name in names:
            del sys.modules[name]
        imports.package_available.cache_clear()
        imports.module_available.cache_clear()


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
def without_dynamo() -> Iterator[None]:
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
def lazy_compiler_disable() -> Iterator[None]:
    """Lets `torch.compiler.disable` load torch._dynamo when the decorated function is first called, not before."""
    torch: Any = importlib.import_module("torch")
    eager = torch.compiler.disable
    torch.compiler.disable = torch._disable_dynamo
    try:
        yield
    finally:
        torch.compiler.disable = eager


LIGHTENED: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "torchmetrics": lambda: hidden(HIDDEN_PACKAGES),
    "lightning_fabric.wrappers": without_dynamo,
    "pytorch_lightning.callbacks.progress.rich_progress": lambda: hidden(("rich",)),  # For a bar that is not shown.
    "pytorch_lightning.utilities.compile": without_dynamo,
    "pytorch_lightning.trainer.connectors.logger_connector.result": lazy_compiler_disable,
}
"""Modules that are executed in the given surroundings."""

POSTPONED = ("wandb.sdk.launch",)
"""Packages that are executed when one of their names is first asked for; modules inside do not ask."""


class _LightLoader(Loader):
    """Executes a module in the surroundings that `LIGHTENED` names."""

    def __init__(self, loader: Loader, surroundings: Callable[[], AbstractContextManager[None]]) -> None:
        self.loader = loader
        self.surroundings = surroundings

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with self.surroundings():
            self.loader.exec_module(module)


class _PostponingLoader(_LightLoader):
    """Executes a package when it is first asked for a name that it does not have yet."""

    def exec_module(self, module: ModuleType) -> None:
        def execute_first(name: str) -> Any:
            del module.__getattr__
            super(_PostponingLoader, self).exec_module(module)
            return getattr(module, name)

        module.__getattr__ = execute_first  # type: ignore[method-assign]


class _LightFinder(MetaPathFinder):
    """Finds the modules in `LIGHTENED` and `POSTPONED`, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in (*LIGHTENED, *POSTPONED):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            kind = _PostponingLoader if fullname in POSTPONED else _LightLoader
            spec.loader = kind(spec.loader, LIGHTENED.get(fullname, nullcontext))
        return spec


def install() -> None:
    """Arranges that the modules above, and torch's compiler, are imported lightly whenever they are."""
    sys.modules.setdefault(DYNAMO, _PostponedDynamo())
    if not any(isinstance(finder, _LightFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LightFinder())


class _FirstImportFinder(MetaPathFinder):
    """Finds nothing, but calls a function when it is first asked for one of the modules that count."""

    def __init__(self, action: Callable[[], None], counts: Callable[[str], bool]) -> None:
        self.action = action
        self.counts = counts

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if self in sys.meta_path and self.counts(fullname):
            sys.meta_path.remove(self)
            self.action()


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
