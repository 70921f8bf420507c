"""Walks everything that a name could lead to: nothing but classes of the right kinds, and of ours, is allowed."""

import importlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning
import torch
import torchmetrics
from pytorch_lightning.accelerators import Accelerator
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import CheckpointIO, ClusterEnvironment, LayerSync, Precision
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy

from common.check.targets import EMITTED, is_allowed
from common.utils.torch import import_torchvision

OF_A_MODEL = (
    *(torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler),
    *(torch.utils.data.Dataset, torch.utils.data.Sampler, torch.utils.data.DataLoader),
    *(torchmetrics.Metric, torchmetrics.MetricCollection, pytorch_lightning.Trainer),
    *(pytorch_lightning.LightningDataModule, pytorch_lightning.Callback, Logger, Strategy, Profiler),
    *(Accelerator, Precision, ClusterEnvironment, CheckpointIO, LayerSync),
)
"""Written down here once more, by the classes themselves."""

PACKAGES = ("common", "projects", "torch", "torchmetrics", "torchvision", "pytorch_lightning", "lightning_fabric")

RESOLVED_BY_HYDRA = ("hydra", "hydra_zen", "hydra_plugins", "omegaconf", "builtins", "functools", "os", "subprocess")

MACHINERY = ("common.check", "common.cli", "common.foreign", "common.launch", "common.run", "common.utils")


def names_below(packages: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yields the dotted name and the object of everything in loaded modules, and in the classes there."""
    for place, module in sorted(sys.modules.items()):
        if not isinstance(module, ModuleType) or place.partition(".")[0] not in packages:
            continue
        for name, found in list(vars(module).items()):
            yield f"{place}.{name}", found
            if inspect.isclass(found):
                yield from ((f"{place}.{name}.{leaf}", value) for leaf, value in list(vars(found).items()))


def is_of_a_model(name: str, found: Any) -> bool:
    """Returns whether an object is of a kind that a configuration is made of."""
    if not inspect.isclass(found):
        return False
    home = found.__module__
    if home.startswith(("common.", "projects.")):
        return not home.startswith(MACHINERY)
    return issubclass(found, OF_A_MODEL) or home.startswith("torchvision.transforms.")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Of what is old in other packages.
def test_of_all_that_can_be_reached_nothing_is_allowed_but_what_a_configuration_is_made_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import_torchvision()
    for name in (
        "torchvision.transforms.v2",
        "pytorch_lightning.cli",
        "projects.oscillator_pred.train",
        "common.ne.runner",
    ):
        importlib.import_module(name)
    counts: Counter[str] = Counter()
    wrong = []
    for name, found in names_below(PACKAGES):
        allowed = is_allowed(name)
        kind = "class" if inspect.isclass(found) else "module" if inspect.ismodule(found) else "other"
        counts[f"{kind}, {'allowed' if allowed else 'refused'}"] += 1
        if allowed and not is_of_a_model(name, found):
            wrong.append(name)
        is_public = not any(part.startswith("_") for part in name.split("."))
        if allowed and not is_public and not name.startswith(("common.", "projects.")):
            wrong.append(name)
    with capsys.disabled():
        print(f"\n{sum(counts.values()):,} objects: {dict(counts)}")
    assert wrong == []
    assert counts["other, allowed"] == counts["module, allowed"] == 0
    assert counts["class, allowed"] > 300
    assert counts["other, refused"] > 10_000


def test_nothing_that_hydra_can_resolve_is_allowed_but_what_our_builders_emit() -> None:
    names = [name for name, _ in names_below(RESOLVED_BY_HYDRA)]
    assert len(names) > 3000
    assert {name for name in names if is_allowed(name)} == {name for name in names if name in EMITTED}


def test_another_object_under_the_name_of_one_that_our_builders_emit_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_allowed(EMITTED[0])
    monkeypatch.setattr(EMITTED[0].replace("hydra_zen.funcs.", "hydra_zen.funcs."), None)
    assert not is_allowed(EMITTED[0])
