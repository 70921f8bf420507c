"""A training that is stopped after each of its batches equals one that is left in peace, however it is configured.

Compared is everything: what every batch, epoch and validation saw and what callbacks saw then, `metrics.csv`, all that
the checkpoints hold, and what is validated at the end.
"""

import itertools
import os
import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    Timer,
)
from pytorch_lightning.loggers.logger import DummyLogger
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, IterableDataset, Sampler, Subset, WeightedRandomSampler
from torchmetrics import MeanMetric

from common.dl.config import DeepLearningSubtaskConfig
from common.dl.engine import DEEP_LEARNING
from common.dl.litmodule.classification import BaseClassificationLitModule, BaseClassificationLitModuleConfig
from common.dl.random_states import seed_everything
from common.dl.train import evaluate
from common.dl.utils.lightning import instantiate_trainer
from common.errors import ConfigError, RunStoppedError
from common.run import stop
from common.run.checkpoint import BEST, LAST, last_checkpoint, read_checkpoint
from common.run.metrics import read_metrics
from tests.dl.conftest import NUM_CLASSES, NUM_INPUTS, MapStyle

GAPS = [int(gap) for gap in os.environ.get("GAPS", "2 5 1 7").split()]
"""After how many batches the launches are stopped, in turn. `GAPS=1` stops after each batch."""


class Crash(BaseException):
    """Ends a process at once, as far as anything that could be saved is concerned."""


def terminate() -> None:
    stop._received.append(stop.signal.SIGTERM)


def fail() -> None:
    raise ValueError("a mistake in somebody's code")


def crash() -> None:
    raise Crash


class Witness(Callback):
    """Takes down what happens, and what callbacks see then; ends the n-th batch of a process as it is told."""

    def __init__(self, stop_after: int | None, end: Callable[[], None]) -> None:
        self.stop_after = stop_after
        self.end = end
        self.seen: list[Any] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note(trainer, "epoch start")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        first = batch
        while not isinstance(first, torch.Tensor):
            first = next(iter(first.values() if isinstance(first, Mapping) else first))
        self.note(trainer, "batch", batch_idx, first.tolist())
        if self.stop_after is not None:
            self.stop_after -= 1
            if self.stop_after == 0:
                self.end()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.note(trainer, "validation")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.note(trainer, "epoch end")

    def note(self, trainer: Trainer, *what: Any) -> None:
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        seen = {name: dict(getattr(trainer, f"{name}_metrics")) for name in ("callback", "logged", "progress_bar")}
        draws = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes())
        where = (trainer.current_epoch, trainer.global_step, trainer.accumulate_grad_batches)
        self.seen.append((what, where, rates, plain(seen), hash(draws)))


def plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.detach().float().numpy().tobytes())
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


class Classifier(BaseClassificationLitModule):
    """Takes its optimisers from a function."""

    build_optimizers: Callable[[nn.Module], Any] = staticmethod(lambda module: SGD(module.parameters(), lr=0.3))

    def configure_optimizers(self) -> Any:
        return type(self).build_optimizers(self.nnmodule)


class LogsMeans(Classifier):
    """Logs means over the training epoch in every way that Lightning has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mean = MeanMetric()

    def step(self, batch: Any, batch_idx: int) -> Any:
        output = super().step(batch, batch_idx)
        loss = output["loss"]
        if self.stage == "train":
            self.log("mean", loss, on_step=False, on_epoch=True)
            self.log("forked", loss, on_step=True, on_epoch=True, prog_bar=True)
            self.log("most", loss, on_step=False, on_epoch=True, reduce_fx="max")
            self.log("total", loss, on_step=False, on_epoch=True, reduce_fx=sum, sync_dist=True)
            if batch_idx == 0:
                self.log("first", loss, on_step=False, on_epoch=True)
            self.mean.update(loss.detach())
            self.log("metric", self.mean, on_step=False, on_epoch=True)
        elif self.stage == "val":
            self.log("val/step", loss, on_step=True, on_epoch=True)
        return output

    def on_train_start(self) -> None:
        self.log("start", 1.0)
        torch.rand(1)  # Drawn anew by a launch that continues.


class TwoOptimizers(Classifier):
    """Optimises by hand: one optimiser every batch, one every third, whose gradients wait for it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        first, second = self.nnmodule[0], self.nnmodule[3]
        optimizers = [SGD(first.parameters(), lr=0.1), AdamW(second.parameters(), lr=0.01)]
        return optimizers, [StepLR(optimizers[0], 4, 0.5), StepLR(optimizers[1], 1, 0.5)]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.stage = "train"
        output = self.step(batch, batch_idx)
        self.manual_backward(output["loss"])
        often, seldom = self.optimizers()
        often.step()
        often.zero_grad()
        if batch_idx % 3 == 2:
            seldom.step()
            seldom.zero_grad()
        by_step, _ = self.lr_schedulers()
        by_step.step()
        self.log_dict({f"train/{name}": value for name, value in output.items()})

    def on_train_epoch_end(self) -> None:
        self.lr_schedulers()[1].step()


class Thaws(Classifier):
    """Trains the first layer only from the second epoch on, and keeps its normalisation as it is until then."""

    def on_fit_start(self) -> None:
        self.nnmodule[0].requires_grad_(requires_grad=False)
        self.nnmodule[1].eval()

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.nnmodule[0].requires_grad_(requires_grad=True)
            self.nnmodule[1].train()


class Skips(Classifier):
    """Has a bad loss now and then."""

    def step(self, batch: Any, batch_idx: int) -> Any:
        output = super().step(batch, batch_idx)
        is_bad = self.stage == "train" and self.curr_train_step % 4 == 1
        return {**output, "loss": output["loss"] * float("nan")} if is_bad else output


def plateau(module: nn.Module, **keys: Any) -> Any:
    optimizer = SGD(module.parameters(), lr=0.3)
    scheduler = ReduceLROnPlateau(optimizer, patience=0, threshold=10.0, factor=0.5)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss", **keys}}


def several_schedulers(module: nn.Module) -> Any:
    optimizer = SGD(module.parameters(), lr=0.3, momentum=0.9)
    return [optimizer], [
        {"scheduler": StepLR(optimizer, 1, 0.9), "interval": "step", "frequency": 2},
        {"scheduler": CosineAnnealingLR(optimizer, 5), "interval": "epoch"},
        {"scheduler": StepLR(optimizer, 1, 0.7), "interval": "epoch", "frequency": 2},
        {"scheduler": ReduceLROnPlateau(optimizer, patience=0, threshold=9.0), "monitor": "val/loss"},
    ]


def logging_optimizer(module: nn.Module) -> Any:
    return plateau(module, monitor="mean")


def configured(build: Callable[[nn.Module], Any], base: type[Classifier] = Classifier) -> type[Classifier]:
    return type("Configured", (base,), {"build_optimizers": staticmethod(build)})


def mean_stopping() -> Callback:
    return EarlyStopping("mean", patience=1, min_delta=10.0, check_on_train_epoch_end=True)


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "map style": {"data": {"map_style": True, "fixed_per_device_num_workers": 0}},
    "accumulation, validation within the epoch": {
        "trainer": {"accumulate_grad_batches": 4, "val_check_interval": 3},
        "module": configured(lambda module: SGD(module.parameters(), lr=2.0)),
    },
    "accumulation by a schedule": {
        "callbacks": lambda: [GradientAccumulationScheduler({0: 3, 1: 2, 2: 1})],
        "trainer": {"val_check_interval": 0.4},
    },
    "means over the epoch": {"module": LogsMeans, "trainer": {"log_every_n_steps": 2, "accumulate_grad_batches": 2}},
    "early stopping on a mean": {
        "module": LogsMeans,
        "callbacks": lambda: [mean_stopping()],
        "trainer": {"max_epochs": 6},
    },
    "early stopping within the epoch": {
        "callbacks": lambda: [EarlyStopping("val/loss", patience=2, min_delta=10.0)],
        "trainer": {"max_epochs": 6, "val_check_interval": 2},
    },
    "early stopping not before": {
        "callbacks": lambda: [EarlyStopping("val/loss", patience=0, min_delta=10.0)],
        "trainer": {"max_epochs": 4, "val_check_interval": 2, "min_epochs": 2},
    },
    "plateau": {"module": configured(plateau), "trainer": {"max_epochs": 4}},
    "plateau per step": {
        "module": configured(partial(plateau, interval="step", frequency=2, monitor="train/loss")),
        "trainer": {"accumulate_grad_batches": 2},
    },
    "plateau on a mean": {"module": configured(logging_optimizer, LogsMeans)},
    "several schedulers": {"module": configured(several_schedulers), "callbacks": lambda: [LearningRateMonitor()]},
    "by hand, two optimisers": {"module": TwoOptimizers, "trainer": {"gradient_clip_val": None}},
    "thawing": {"module": Thaws},
    "bad losses": {"module": Skips, "config": {"on_bad_loss": "skip"}, "trainer": {"accumulate_grad_batches": 2}},
    "reloading": {"trainer": {"reload_dataloaders_every_n_epochs": 1, "val_check_interval": 3}},
    "reloading every other epoch": {"trainer": {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 4}},
    "a part of the batches": {"trainer": {"limit_train_batches": 3, "limit_val_batches": 1}},
    "a fraction of the batches": {"trainer": {"limit_train_batches": 0.5, "val_check_interval": 0.5}},
    "overfitting": {"trainer": {"overfit_batches": 2}},
    "validation every other epoch": {"trainer": {"check_val_every_n_epoch": 2, "num_sanity_val_steps": 0}},
    "validation by batches over epochs": {"trainer": {"check_val_every_n_epoch": None, "val_check_interval": 7}},
    "no validation": {"trainer": {"limit_val_batches": 0}},
    "steps": {"trainer": {"max_steps": 8, "max_epochs": -1, "accumulate_grad_batches": 2}},
    "steps, in mid-epoch": {"trainer": {"max_steps": 7}},
    "clipping by value": {"trainer": {"gradient_clip_val": 0.1, "gradient_clip_algorithm": "value"}},
    "double precision": {"trainer": {"precision": "64-true"}},
    "mixed precision": {"trainer": {"precision": "bf16-mixed"}},
    "a timer": {"callbacks": lambda: [Timer("00:01:00:00")], "trainer": {"max_time": {"hours": 2}}},
}


def own_loader(**keys: Any) -> Callable[..., Any]:
    """Returns what builds a data module with a `train_dataloader` of its own, which takes the dataset."""

    def build(make: Callable[..., Any], *, loader: Callable[[Any], Any], **settings: Any) -> Any:
        module = make(map_style=True, fixed_per_device_num_workers=0, **settings)
        inner = type(module)
        kind = type("Own", (inner,), {"train_dataloader": lambda self: loader(self)})
        module.__class__ = kind
        return module

    return partial(build, **keys)


def weighted(datamodule: Any) -> Any:
    sampler = WeightedRandomSampler(torch.arange(22) + 1.0, 22)
    return DataLoader(datamodule.datasets.train, batch_size=4, sampler=sampler)


def weighted_by_a_generator(datamodule: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    sampler = WeightedRandomSampler(torch.arange(22) + 1.0, 22, generator=generator)
    return DataLoader(datamodule.datasets.train, batch_size=4, sampler=sampler)


def shuffled(datamodule: Any, **keys: Any) -> Any:
    return DataLoader(datamodule.datasets.train, batch_size=4, shuffle=True, **keys)


class LazySampler(Sampler[int]):
    """Draws each index when it is asked for, from all generators that there are."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(1)

    def __len__(self) -> int:
        return 22

    def __iter__(self) -> Any:
        for _ in range(22):
            yield (random.randrange(22) + int(self.generator.integers(22)) + int(torch.randint(22, ()))) % 22


def lazy(datamodule: Any) -> Any:
    return DataLoader(datamodule.datasets.train, batch_size=4, sampler=LazySampler())


class Stream(IterableDataset[Any]):
    """Data without a length."""

    def __iter__(self) -> Any:
        for _ in range(22):
            yield torch.rand(NUM_INPUTS), torch.randint(NUM_CLASSES, ())


def combined(datamodule: Any, mode: str) -> Any:
    short = DataLoader(Subset(datamodule.datasets.train, range(8)), batch_size=4, shuffle=True)
    return CombinedLoader({"long": shuffled(datamodule), "short": short}, mode)


class TakesBoth(Classifier):
    """Takes a batch of two loaders."""

    def step(self, batch: Any, batch_idx: int) -> Any:
        both = [part for part in batch.values() if part is not None] if isinstance(batch, dict) else [batch]
        return super().step(tuple(torch.cat(parts) for parts in zip(*both, strict=True)), batch_idx)


def with_weights(make: Callable[..., Any], **settings: Any) -> Any:
    module = make(**settings)
    module.__class__ = type("Weighted", (type(module),), {"train_weights": lambda self: torch.arange(22) + 1.0})
    return module


CONFIGURATIONS |= {
    "weights": {"datamodule": with_weights},
    "own loader, weighted": {"datamodule": own_loader(loader=weighted)},
    "own loader, weighted by a generator": {"datamodule": own_loader(loader=weighted_by_a_generator)},
    "own loader, shuffled": {
        "datamodule": own_loader(loader=shuffled),
        "trainer": {"reload_dataloaders_every_n_epochs": 2, "max_epochs": 4},
    },
    "own loader, with workers": {
        "datamodule": own_loader(loader=partial(shuffled, num_workers=1, persistent_workers=True)),
        "trainer": {"max_epochs": 2},
    },
    "own loader, lazy": {"datamodule": own_loader(loader=lazy), "trainer": {"accumulate_grad_batches": 2}},
    "own loader, a stream": {
        "datamodule": own_loader(loader=lambda datamodule: DataLoader(Stream(), batch_size=4)),
        "trainer": {"val_check_interval": 4},
    },
    "own loader, of two": {
        "datamodule": own_loader(loader=partial(combined, mode="max_size_cycle")),
        "module": TakesBoth,
    },
    "own loader, of two, the shorter": {
        "datamodule": own_loader(loader=partial(combined, mode="min_size")),
        "module": TakesBoth,
    },
    "own loader, of two as a mapping": {
        "datamodule": own_loader(
            loader=lambda datamodule: {"own": shuffled(datamodule), "ours": datamodule.make_dataloader("train")}
        ),
        "module": TakesBoth,
        "trainer": {"limit_train_batches": 3},
    },
}


class Noisy(Classifier):
    """Draws from generators of its own, of each kind."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sources = {"numpy": [np.random.default_rng(1), np.random.RandomState(2)], "python": random.Random(3)}
        self.nnmodule.generator = torch.Generator().manual_seed(4)

    def step(self, batch: Any, batch_idx: int) -> Any:
        first, second = self.sources["numpy"]
        noise = first.normal() + second.normal() + self.sources["python"].gauss(0, 1)
        noise += torch.rand(1, generator=self.nnmodule.generator).item()
        return super().step((batch[0] + noise, batch[1]), batch_idx)


class Augmented(MapStyle):
    """Draws from a generator of its own."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__(*tensors)
        self.generator = np.random.default_rng(1)

    def __getitem__(self, index: int) -> Any:
        inputs, labels = super().__getitem__(index)
        return inputs + float(self.generator.normal()), labels


def augmented(make: Callable[..., Any], **settings: Any) -> Any:
    module = make(map_style=True, **settings)
    for split in ("train", "val", "test"):
        setattr(module.datasets, split, Augmented(*getattr(module.datasets, split).tensors))
    return module


CONFIGURATIONS |= {
    "own generators": {"module": Noisy},
    "own generators of the data": {"datamodule": augmented, "data": {"fixed_per_device_num_workers": 0}},
    "own generators in workers": {
        "datamodule": augmented,
        "data": {"fixed_per_device_num_workers": 1},
        "trainer": {"max_epochs": 2},
    },
}


class Session:
    """Trains in a folder, in one launch or several."""

    def __init__(self, folder: Path, make_datamodule: Any, configuration: Mapping[str, Any]) -> None:
        self.folder = folder
        self.make_datamodule = make_datamodule
        self.configuration = configuration
        self.seen: list[Any] = []
        self.end: list[Any] = []
        folder.mkdir()

    def launch(self, stop_after: int | None = None, end: Callable[[], None] = terminate) -> bool:
        """Trains from the last checkpoint; returns whether it came to the end."""
        given = self.configuration
        seed_everything(3)
        keys = dict(given.get("data", {}))
        data = given.get("datamodule", lambda make, **keys: make(**keys))(
            partial(self.make_datamodule, 22, 8, 6), batch_size=keys.pop("batch_size", 4), **keys
        )
        layers = [nn.Linear(NUM_INPUTS, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, NUM_CLASSES)]
        module = given.get("module", Classifier)(
            BaseClassificationLitModuleConfig(num_classes=NUM_CLASSES),
            nn.Sequential(*layers),
            partial(SGD, lr=0.01),
            partial(ConstantLR, factor=1.0, total_iters=0),
        )
        config = DeepLearningSubtaskConfig(
            output_dir=str(self.folder), data_dir=str(self.folder), **given.get("config", {})
        )
        module.on_bad_loss = config.on_bad_loss
        self.data = data
        witness = Witness(stop_after, end)
        start = last_checkpoint(self.folder / DEEP_LEARNING.checkpoints)
        settings = {
            "default_root_dir": str(self.folder),
            "max_epochs": 3,
            "log_every_n_steps": 1,
            "gradient_clip_val": 1.0,
            **given.get("trainer", {}),
        }
        trainer = instantiate_trainer(
            partial(Trainer, accelerator="cpu", enable_progress_bar=False, **settings),
            DummyLogger(),
            {str(n): callback for n, callback in enumerate([*given.get("callbacks", list)(), witness])},
            config,
            is_continuation=start is not None,
        )
        trainer.precision_plugin.convert_module(module)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except (RunStoppedError, ValueError, Crash):
            return False
        finally:
            stop._received.clear()
            self.seen += witness.seen
        if (self.folder / DEEP_LEARNING.checkpoints / BEST).is_file():
            module.load_state_dict(read_checkpoint(self.folder / DEEP_LEARNING.checkpoints / BEST)["state_dict"])
        self.end = [trainer.global_step, trainer.current_epoch, evaluate(trainer, module, data)]
        return True

    def facts(self) -> dict[str, Any]:
        """Returns all that must not depend on interruptions."""
        checkpoints = {
            name: plain(read_checkpoint(self.folder / DEEP_LEARNING.checkpoints / name))
            for name in (LAST, BEST)
            if (self.folder / DEEP_LEARNING.checkpoints / name).is_file()
        }
        for checkpoint in checkpoints.values():
            for name, state in checkpoint["callbacks"].items():
                if name.startswith("Timer"):
                    state.clear()
            metrics_file = checkpoint["continuation"]["metrics_file"]  # It holds times.
            checkpoint["continuation"]["metrics_file"] = {key: metrics_file[key] for key in ("columns", "num_rows")}
        rows = [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(self.folder)]
        return {"seen": self.seen, "rows": rows, **checkpoints, "end": self.end}


@pytest.fixture
def session(tmp_path: Path, make_datamodule: Any) -> Callable[[str, Mapping[str, Any]], Session]:
    return lambda name, configuration: Session(tmp_path / name, make_datamodule, configuration)


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Names the first difference."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        assert list(map(str, one)) == list(map(str, other)), path
        for key in one:
            assert_same(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        for index, (a, b) in enumerate(zip(one, other, strict=False)):
            assert_same(a, b, f"{path}/{index}")
        assert len(one) == len(other), path
    else:
        assert one == other or (one != one and other != other), path


@pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode")  # Wanted.
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # Torch looks at this process alone.
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_training_that_is_stopped_again_and_again_equals_one_in_peace(
    session: Callable[..., Session], name: str
) -> None:
    peaceful, troubled = session("peaceful", CONFIGURATIONS[name]), session("troubled", CONFIGURATIONS[name])
    assert peaceful.launch()
    gaps = itertools.cycle(GAPS)
    num_launches = 1
    while not troubled.launch(stop_after=next(gaps)):
        num_launches += 1
    assert num_launches > 1
    assert_same(troubled.facts(), peaceful.facts())


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("end", [fail, crash], ids=lambda end: end.__name__)
@pytest.mark.parametrize(
    "name",
    [
        "accumulation, validation within the epoch",
        "means over the epoch",
        "several schedulers",
        "by hand, two optimisers",
        "own loader, lazy",
        "steps",
    ],
)
def test_a_training_that_fails_again_and_again_equals_one_in_peace(
    session: Callable[..., Session], name: str, end: Callable[[], None]
) -> None:
    peaceful, troubled = session("peaceful", CONFIGURATIONS[name]), session("troubled", CONFIGURATIONS[name])
    assert peaceful.launch()
    num_failures = 0
    while not troubled.launch(stop_after=8, end=end):  # More than an epoch has, and not a multiple.
        num_failures += 1
    assert num_failures
    facts = [one.facts() | {"seen": []} for one in (troubled, peaceful)]  # Some batches are seen twice.
    assert_same(*facts)


@pytest.mark.parametrize(
    "name", ["as shipped", "accumulation, validation within the epoch", "early stopping not before"]
)
def test_the_best_network_is_the_one_that_was_validated(session: Callable[..., Session], name: str) -> None:
    run = session("run", CONFIGURATIONS[name])
    assert run.launch()
    state = read_checkpoint(run.folder / DEEP_LEARNING.checkpoints / BEST)["state_dict"]
    inputs, labels = run.data.datasets.val.tensors
    layers = {key.removeprefix("nnmodule."): value for key, value in state.items()}
    hidden = inputs @ layers["0.weight"].T + layers["0.bias"]
    scale = layers["1.weight"] / (layers["1.running_var"] + 1e-5).sqrt()
    hidden = (hidden - layers["1.running_mean"]) * scale + layers["1.bias"]
    logits = hidden @ layers["3.weight"].T + layers["3.bias"]
    loss = (logits.logsumexp(1) - logits[range(len(labels)), labels]).mean().item()
    series = [row["val/loss"] for row in read_metrics(run.folder) if "val/loss" in row]
    assert len(series) > 3
    assert loss == pytest.approx(min(series), rel=1e-5)
    assert (
        series[-1] == run.end[2]["val/loss"] == pytest.approx(min(series), rel=1e-6)
    )  # What was validated at the end.


@pytest.mark.parametrize(
    ("name", "step", "epoch"),
    [("steps, in mid-epoch", 7, 2), ("as shipped", 18, 3), ("early stopping within the epoch", 6, 1)],
)
def test_a_training_that_was_cut_off_in_its_evaluation_counts_as_before(
    session: Callable[..., Session], name: str, step: int, epoch: int
) -> None:
    run = session("run", CONFIGURATIONS[name])
    assert run.launch()
    before = run.facts() | {"seen": []}
    assert run.launch()
    assert_same(run.facts() | {"seen": []}, before)
    for row in read_metrics(run.folder)[-2:]:
        assert (row["step"], row["epoch"]) == (step, epoch)


def test_a_larger_budget_of_steps_equals_a_straight_run(session: Callable[..., Session]) -> None:
    straight, extended = (session(name, {"trainer": {"max_steps": 11}, "module": LogsMeans}) for name in ("one", "two"))
    assert straight.launch()
    extended.configuration = {"trainer": {"max_steps": 8}, "module": LogsMeans}
    assert extended.launch()
    extended.configuration = straight.configuration
    assert extended.launch()
    assert_same(extended.facts() | {"seen": []}, straight.facts() | {"seen": []})


@pytest.mark.parametrize(("budget", "reached"), [({"max_epochs": 2}, 3), ({"max_steps": 17}, 18)])
def test_a_checkpoint_beyond_the_budget_is_refused(
    session: Callable[..., Session], budget: dict[str, int], reached: int
) -> None:
    run = session("run", {})
    assert run.launch()
    run.configuration = {"trainer": budget}
    ((key, limit),) = budget.items()
    with pytest.raises(
        ConfigError, match=f"trainer.{key}={limit} is less than the checkpoint has behind it, {reached}"
    ):
        run.launch()


class RunsOut(Timer):
    """Is out of time after a number of steps."""

    def __init__(self, num_steps: int) -> None:
        super().__init__("00:01:00:00")
        self.num_steps = num_steps

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step == self.num_steps:
            self._duration = 0
        super().on_train_batch_end(trainer, *args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        return {}


def test_a_training_that_was_out_of_time_goes_on_with_more(session: Callable[..., Session]) -> None:
    straight = session("straight", {"callbacks": lambda: [RunsOut(99)]})
    extended = session("extended", {"callbacks": lambda: [RunsOut(8)]})
    assert straight.launch()
    assert extended.launch()
    assert extended.end[0] == 8
    extended.configuration = straight.configuration
    assert extended.launch()
    assert extended.end[0] == 18
    for part in ("state_dict", "optimizer_states"):  # It was also validated when its time was over.
        assert_same(extended.facts()[LAST][part], straight.facts()[LAST][part])


def test_nothing_is_saved_on_an_error_of_one_of_several_ranks(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_as_one_of_two() -> None:
        monkeypatch.setattr(Trainer, "world_size", property(lambda self: 2))
        fail()

    class Fails(Classifier):
        def step(self, batch: Any, batch_idx: int) -> Any:
            if self.stage == "train" and self.curr_train_step == 9:
                fail_as_one_of_two()
            return super().step(batch, batch_idx)

    run = session("run", {"module": Fails})
    assert not run.launch()
    assert read_checkpoint(run.folder / DEEP_LEARNING.checkpoints / LAST)["global_step"] == 6  # Of the epoch before.
