"""What overrides a method of a library takes whatever that library passes: run-time type checks stay on in runs.

All overrides are found by walking through the classes of this repository. Each parameter is annotated as wide as the
library annotates it, or wider; or the override stands below, with the values with which it was tried.
"""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from beartype.door import is_bearable, is_subhint
from pytorch_lightning.trainer.states import TrainerFn

from common.dl.datamodule.in_memory import InMemoryDataset
from common.dl.datamodule.sampler import SeededIndices
from common.dl.outputs.metrics import MetricsFileLogger
from common.run.metrics import read_metrics
from common.utils.beartype import BEARTYPE_CONF

ROOTS = ("common", "projects", "hydra_plugins.ai_research")

BY_US = {"__init__", "forward"}
"""Called by this repository's own code, or with what a configuration says, which is judged before anything starts."""


def modules() -> Iterator[Any]:
    """Yields every module of this repository but its tests and programs."""
    for root in ROOTS:
        package = importlib.import_module(root)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{root}."):
            if not found.name.endswith(("_test", "__main__")) and "project_templates" not in found.name:
                yield importlib.import_module(found.name)


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith(ROOTS)


def function_of(member: Any) -> FunctionType | None:
    """Returns the plain function behind a method of any kind."""
    member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    return inspect.unwrap(member) if inspect.isfunction(member) else None


def overrides() -> dict[str, tuple[FunctionType, FunctionType]]:
    """Returns each function of our classes that overrides one of another package's, with that one."""
    found = {}
    classes = {
        kind for module in modules() for kind in vars(module).values() if inspect.isclass(kind) and is_ours(kind)
    }
    for kind in classes:
        for name, member in vars(kind).items():
            owner = next((base for base in kind.__mro__[1:] if not is_ours(base) and name in vars(base)), None)
            ours, theirs = function_of(member), None if owner is None else function_of(vars(owner)[name])
            if ours is not None and theirs is not None and name not in BY_US and not hasattr(object, name):
                found[f"{kind.__qualname__}.{name}"] = (ours, theirs)
    return found


def hints_of(function: FunctionType) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:  # A name that is imported for type checkers alone.
        return {}


def narrow_parameters(ours: FunctionType, theirs: FunctionType) -> list[str]:
    """Returns the parameters that may refuse what the library's annotation admits."""
    our_hints, their_hints = hints_of(ours), hints_of(theirs)
    names = [name for name in inspect.signature(ours).parameters if name not in ("self", "cls", "ctx")]
    return [
        name for name in names if name in our_hints and not is_subhint(their_hints.get(name, object), our_hints[name])
    ]


OVERRIDES = overrides()

INF = float("inf")
STEP = {"batch_idx": [0]}
GRADIENT = [torch.zeros(1)]
SPEC = {"spec": [ModuleSpec("x", None)]}
ONE_RATE: list[Mapping[str, Any]] = [{"lr": 0.1}, {"epoch": 0}, {"lr-AdamW": torch.tensor(0.1)}]

PASSED: dict[str, dict[str, list[Any]]] = {
    # TQDMProgressBar gives the bar's total, which is None where nobody knows it, whatever its annotation says.
    "ProgressBar._should_update": {"current": [1], "total": [None, 4, 4.0, INF]},
    # The library takes anything, so as to leave it to the one who overrides; its loops count batches in int.
    "BaseLitModule.training_step": STEP,
    "BaseLitModule.validation_step": STEP,
    "BaseLitModule.test_step": STEP,
    # The loader that serves it has no sampler but ours.
    "SeededPerBatch.__getitem__": {"indices": [SeededIndices([0], 0)]},
    # LearningRateMonitor passes the optimiser's own rates, which may be tensors; metrics_to_scalars gives the others.
    "MetricsFileLogger.log_metrics": {"metrics": ONE_RATE, "step": [None, 0]},
    "BestEffortWandbLogger.log_metrics": {"metrics": ONE_RATE, "step": [None, 0]},
    # Autograd fills in zeros for outputs that nobody used.
    "AddedStates.backward": {"grad": GRADIENT},
    "ChunkOutputs.backward": {"grad": GRADIENT},
    "FactoredChunks.backward": {"grad_y": GRADIENT, "grad_last": GRADIENT},
    "GatedConvolution.backward": {"grads": GRADIENT},
    "GatedNorm.backward": {"grad": GRADIENT},
    "SplitLinear.backward": {"grads": GRADIENT},
    "StateScan.backward": {"grad_before": GRADIENT, "grad_last": GRADIENT},
    "_PostponingLoader.create_module": SPEC,
    "_SurroundedLoader.create_module": SPEC,
    # Whoever iterates asks for whole numbers, and the base class's own methods do.
    "GridPoints.__getitem__": {"index": [0, -1, slice(0, 2)]},
    # Lightning's stages are an enumeration of text.
    "Preparation.setup": {"stage": list(TrainerFn)},
    "MNISTDataModule.setup": {"stage": [None, *TrainerFn]},
    "OscillatorDataModule.setup": {"stage": [None, *TrainerFn]},
    # Ctrl-C and sys.exit() are no Exception.
    "Checkpointer.on_exception": {"exception": [ValueError(), KeyboardInterrupt(), SystemExit(1)]},
}
"""What the installed libraries' code passes where their annotations say less, or other things."""


def test_overrides_are_found() -> None:
    assert {"ProgressBar._should_update", "Checkpointer.on_exception", "LocalLauncher.launch"} <= set(OVERRIDES)
    assert {"AtomicCheckpointIO.load_checkpoint", "MNISTDataModule.setup", "LazyGroup.get_command"} <= set(OVERRIDES)


@pytest.mark.parametrize("name", sorted(OVERRIDES))
def test_an_override_is_as_wide_as_the_library_says_or_its_values_are_known(name: str) -> None:
    missing = set(narrow_parameters(*OVERRIDES[name])) - PASSED.get(name, {}).keys()
    assert not missing, f"{name}: read what the library passes for {missing}, and add it to PASSED."


@pytest.mark.parametrize("name", sorted(PASSED))
def test_what_the_library_passes_is_taken(name: str) -> None:
    hints = hints_of(OVERRIDES[name][0])
    for parameter, values in PASSED[name].items():
        for value in values:
            assert is_bearable(value, hints[parameter], conf=BEARTYPE_CONF), (parameter, value)


def test_a_narrower_override_is_noticed() -> None:
    """Otherwise nothing above would be worth anything."""

    class Library:
        def method(self, number: int | None, other: Any, plain) -> None:  # type: ignore[no-untyped-def]
            """Takes None, too."""

    class Override(Library):
        def method(self, number: int, other: Any, plain: str) -> None:
            """Does not."""

    assert narrow_parameters(Override.method, Library.method) == ["number", "plain"]  # type: ignore[arg-type]


@pytest.mark.parametrize("index", [1, np.int64(1), torch.tensor(1)], ids=["int", "NumPy", "tensor"])
def test_a_sample_is_found_by_any_kind_of_whole_number(index: Any) -> None:
    (sample,) = InMemoryDataset(torch.arange(4))[index]
    assert sample.item() == 1


@pytest.mark.parametrize("indices", [[1, 2], slice(1, 3), torch.tensor([1, 2]), np.array([1, 2])], ids=str)
def test_a_batch_is_found_by_any_kind_of_indices(indices: Any) -> None:
    (batch,) = InMemoryDataset(torch.arange(4))[indices]
    assert batch.tolist() == [1, 2]


def test_a_rate_in_a_tensor_reaches_the_file(tmp_path: Path) -> None:
    logger = MetricsFileLogger(tmp_path)
    logger.log_metrics({"lr-AdamW": torch.tensor(0.25)}, step=3)
    logger.finalize("success")
    assert [row["lr-AdamW"] for row in read_metrics(tmp_path)] == [0.25]
