"""torchvision beside a CPU build of torch."""

import sys
from types import ModuleType
from typing import Any

_LIBRARIES: list[Any] = []
"""Keeps the declared schemas alive: torch forgets them with their library object."""

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def import_torchvision() -> ModuleType:
    """Imports torchvision, also where its compiled operators do not load.

    The registry's torchvision is compiled against CUDA. Beside a CPU build of torch its operators stay unknown, and the
    import ends with "operator torchvision::nms does not exist". With the two operators declared, its pure-Python half
    (datasets, transforms) works; calling the operators themselves still fails.

    Returns:
        The package.
    """
    from torch.library import Library

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        _forget_half_imported()
        library: Any = Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        _LIBRARIES.append(library)
        import torchvision  # noqa: F401
    return sys.modules["torchvision"]


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
