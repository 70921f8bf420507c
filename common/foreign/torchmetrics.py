"""torchmetrics is imported as if its optional packages were not installed, and finds them once one is asked for.

When pytorch_lightning imports it, it loads every optional package that it finds, at each start: matplotlib costs 0.4 s,
scipy 0.9 s and transformers 1.3 s of processor time (measured with torchmetrics 1.8.2), and a torchvision compiled for
CUDA beside a CPU build of torch ends the import. Whoever asks for what needs such a package, a metric's `plot()` or
`torchmetrics.detection.MeanAveragePrecision`, gets it as if nothing had been hidden.

Private names used: `_MATPLOTLIB_AVAILABLE` of `torchmetrics.utilities.plot` (1.8), `_version` of
`lightning_utilities.core.imports` (0.15), and a metric's count of updates and cached result (1.8), which cannot be set
in a public way.
"""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from common.foreign.import_hooks import execute_within

if TYPE_CHECKING:
    from torchmetrics import Metric

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
"""Optional packages that it would load, or that what it loads would, and that no run needs before its first step."""


def install() -> None:
    """Arranges all this for when torchmetrics is imported."""
    execute_within("torchmetrics", _hidden_until_asked_for)


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


@contextmanager
def _hidden_until_asked_for() -> Iterator[None]:
    with hidden(HIDDEN_PACKAGES):
        yield
    plots: Any = sys.modules["torchmetrics.utilities.plot"]
    plots._MATPLOTLIB_AVAILABLE = _Asked(plots)
    for name, module in list(sys.modules.items()):
        if name.startswith("torchmetrics") and hasattr(module, "__path__"):
            module.__getattr__ = _looking_again(module)  # type: ignore[method-assign]


class _Asked:
    """Stands for the flag "matplotlib is there": who first asks for it is about to plot, and gets the real one."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __bool__(self) -> bool:
        _forget_what_was_hidden()
        importlib.reload(self.module)
        return bool(self.module._MATPLOTLIB_AVAILABLE)


def _looking_again(package: ModuleType) -> Callable[[str], Any]:
    """Returns a package's `__getattr__`, which is asked for the names that it left out for want of other packages."""

    def look_again(name: str) -> Any:
        if not name.startswith("_"):
            del package.__getattr__
            _forget_what_was_hidden()
            importlib.reload(package)  # It imports once more from its modules, each of which is executed once.
            if hasattr(package, name):
                return getattr(package, name)
            package.__getattr__ = look_again  # type: ignore[method-assign]
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")

    return look_again


def _forget_what_was_hidden() -> None:
    """Lets torchmetrics' flags, each of which notes its first answer, look for their packages again."""
    from common.utils.torch import import_torchvision

    with suppress(ImportError):
        import_torchvision()  # Also where its operators do not load.
    for requirement in vars(sys.modules["torchmetrics.utilities.imports"]).values():
        if hasattr(requirement, "available"):
            vars(requirement).pop("available", None)
            vars(requirement).pop("message", None)


def get_state(metric: "Metric") -> dict[str, Any]:
    """Returns a copy of what a metric has accumulated."""
    values = {
        name: list(value) if isinstance(value, list) else value.clone() for name, value in metric.metric_state.items()
    }
    return {"num_updates": metric.update_count, "values": values}


def set_state(metric: "Metric", state: Mapping[str, Any]) -> None:
    """Lets a metric go on from what `get_state` returned."""
    metric._update_count = state["num_updates"]
    metric._computed = None
    for name, value in state["values"].items():
        setattr(metric, name, value)
