"""The training programs that `train_overhead.py` compares, each run in a process of its own.

All train the network of one task of classify_mnist on the same samples, with the same batch size, optimiser,
learning-rate schedule, gradient clipping and number of threads, and validate after each epoch. What differs is what
surrounds that.

Axes: B batch.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import torch
from omegaconf import OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ConstantLR, LinearLR, LRScheduler

from common.dl.checkpointing.checkpointer import Checkpointer
from common.dl.litmodule.parameter_groups import decayed_and_not
from common.dl.utils import lightning
from common.utils.torch import import_torchvision
from projects.classify_mnist.datamodule import MEAN, STD, MNISTDataModule, MNISTDataModuleConfig
from projects.classify_mnist.train import TaskRunner

BATCH_SIZE = 128
CLIP_NORM = 1.0
ROOT = Path(__file__).resolve().parents[1]
TRAIN_FILE = ROOT / "projects" / "classify_mnist" / "train.py"


class EpochTimer(Callback):
    """Times epochs, each of which starts when the other side says so: contestants take turns, epoch by epoch.

    An epoch lasts until the next one could start or training ends, so that checkpoints and logs count.

    Args:
        reports: Receives a line of JSON after each epoch: its seconds with validation and without, and the seconds of
            CPU that this process used meanwhile, which suffer less from whatever else the machine does.
    """

    def __init__(self, reports: TextIO) -> None:
        self.reports = reports
        self.start: float | None = None
        self.start_cpu = 0.0
        self.validation_start: float | None = None

    def on_train_epoch_start(self, *args: Any) -> None:
        """Lightning's hook before an epoch."""
        self._report()
        sys.stdin.readline()
        self.start, self.validation_start, self.start_cpu = time.perf_counter(), None, time.process_time()

    def on_validation_start(self, *args: Any) -> None:
        """Lightning's hook before validation."""
        self.validation_start = time.perf_counter()

    def on_train_end(self, *args: Any) -> None:
        """Lightning's hook after the last epoch. What comes after it must not disturb another contestant's turn."""
        self._report()
        sys.stdin.readline()

    def _report(self) -> None:
        end, end_cpu = time.perf_counter(), time.process_time()
        if self.start is not None and self.validation_start is not None:
            times = {
                "epoch": end - self.start,
                "training": self.validation_start - self.start,
                "cpu": end_cpu - self.start_cpu,
            }
            print(json.dumps(times), file=self.reports, flush=True)


@dataclass
class Work:
    """What a contestant has to do.

    Attributes:
        task: Whose network, learning rate and schedule every contestant uses: `mlp` or `fnn`.
        data_dir: Holds MNIST.
        epochs: How many.
        timer: Takes the times.
    """

    task: str
    data_dir: Path
    epochs: int
    timer: EpochTimer


class PlainNetwork(LightningModule):
    """A task's network, in the way a Lightning tutorial would write it."""

    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task
        self.layers = build_network(task)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Returns the loss."""
        images, labels = batch
        return functional.cross_entropy(self.layers(images), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Computes the loss and the accuracy, and leaves it at that."""
        images, labels = batch
        logits = self.layers(images)
        functional.cross_entropy(logits, labels)
        (logits.argmax(dim=-1) == labels).float().mean()

    def configure_optimizers(self) -> Any:
        """Builds the optimiser and its schedule, stepped once per optimiser step."""
        optimizer, scheduler = build_optimizer(self.layers, self.task)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Slices:
    """Batches cut from tensors in memory: nothing but indexing and normalisation.

    Args:
        images: Pixels from 0 to 255, N×28×28.
        labels: N class numbers.
        shuffle: Whether each pass has an order of its own.
    """

    def __init__(self, images: Tensor, labels: Tensor, *, shuffle: bool) -> None:
        self.images = images
        self.labels = labels
        self.shuffle = shuffle

    def __len__(self) -> int:
        """Returns the number of batches."""
        return -(-len(self.labels) // BATCH_SIZE)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields one pass."""
        order = torch.randperm(len(self.labels)) if self.shuffle else torch.arange(len(self.labels))
        for indices in order.split(BATCH_SIZE):
            images = self.images[indices].unsqueeze(1).float().mul_(1 / (255 * STD)).sub_(MEAN / STD)
            yield images, self.labels[indices]


def read_task(task: str) -> Any:
    """Returns a task's YAML file, as shipped."""
    return OmegaConf.load(TRAIN_FILE.parent / "task" / f"{task}.yaml")


def build_network(task: str) -> nn.Sequential:
    """Returns a task's network as plain torch layers, without type checks."""
    config = read_task(task).litmodule.nnmodule.config
    layers: list[nn.Module] = [nn.Flatten()]
    for index, (size_in, size_out) in enumerate(pairwise(config.get("layer_sizes") or [784, 10])):
        if index:
            layers += [nn.ReLU(), nn.Dropout(config.dropout)]
        layers.append(nn.Linear(size_in, size_out))
    return nn.Sequential(*layers)


def build_optimizer(network: nn.Module, task: str) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Returns what a task configures: AdamW, with a linear warm-up for `mlp` and a constant rate for `fnn`."""
    groups = decayed_and_not(list(network.parameters()))  # As ours has it, so that all compute the same.
    optimizer = torch.optim.AdamW(groups, lr=read_task(task).litmodule.optimizer.lr)
    if task == "fnn":
        return optimizer, ConstantLR(optimizer, factor=1.0, total_iters=0)
    return optimizer, LinearLR(optimizer, start_factor=0.01, end_factor=1.0, total_iters=100)


def in_memory_batches(data_dir: Path) -> tuple[Slices, Slices]:
    """Returns the training and the validation batches, from the split that our data module makes."""
    datamodule = MNISTDataModule(MNISTDataModuleConfig(data_dir=str(data_dir), source="mnist"), functools.partial(dict))
    datamodule.setup()
    train, val = datamodule.datasets.train, datamodule.datasets.val
    return Slices(*train.tensors, shuffle=True), Slices(*val.tensors, shuffle=False)


def run_ours(work: Work) -> None:
    """Trains by the task as shipped: W&B offline, metrics.csv, checkpoints, progress bar, type checks."""

    class TimedTaskRunner(TaskRunner):
        """The project's own runner, with the timer among the callbacks."""

        @staticmethod
        @functools.wraps(TaskRunner.run_subtask)
        def run_subtask(*, callbacks: dict[str, Callback], **parts: Any) -> Any:
            return TaskRunner.run_subtask(callbacks={**callbacks, "timer": work.timer}, **parts)

    sys.argv = [
        str(TRAIN_FILE),
        f"task={work.task}",
        f"config.data_dir={work.data_dir}",
        "datamodule.config.source=mnist",
    ]
    sys.argv += [f"trainer.max_epochs={work.epochs}", f"hydra.launcher.cpus_per_task={torch.get_num_threads()}"]
    sys.argv += [f"datamodule.config.fixed_per_device_batch_size={BATCH_SIZE}"]
    TimedTaskRunner.run_task()


def run_ours_unsaved(work: Work) -> None:
    """Trains as `run_ours` does, with nothing that is there for the sake of continuing."""

    class NoCheckpointer(Checkpointer):
        """Notes nothing and writes nothing."""

    for name in vars(Checkpointer):
        if name.startswith("on_"):
            setattr(NoCheckpointer, name, getattr(Callback, name))
    lightning.Checkpointer = NoCheckpointer
    run_ours(work)


def run_lightning(work: Work, loaders: tuple[Any, Any], **settings: Any) -> None:
    """Trains by a bare Lightning loop: no logger, no checkpoints, no progress bar.

    Args:
        work: What to do.
        loaders: Training and validation batches.
        **settings: Further arguments of the trainer.
    """
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=work.epochs,
        callbacks=[work.timer],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )
    trainer.fit(PlainNetwork(work.task), *loaders)


def run_bare(work: Work) -> None:
    """Trains by a bare Lightning loop over tensors in memory."""
    run_lightning(work, in_memory_batches(work.data_dir), gradient_clip_val=CLIP_NORM)


def run_bare_unclipped(work: Work) -> None:
    """Does less than the task asks for: as `run_bare`, without gradient clipping."""
    run_lightning(work, in_memory_batches(work.data_dir))


def run_per_sample(work: Work, num_workers: int) -> None:
    """Trains by a bare Lightning loop over the data pipeline of most templates: one PIL image at a time."""
    import_torchvision()
    from torch.utils.data import DataLoader, random_split
    from torchvision import transforms
    from torchvision.datasets import MNIST

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    dataset = MNIST(str(work.data_dir), train=True, transform=transform)
    num_val = round(len(dataset) * MNISTDataModuleConfig.val_fraction)
    train, val = random_split(dataset, [len(dataset) - num_val, num_val])
    keys: dict[str, Any] = {
        "batch_size": BATCH_SIZE,
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,  # To its advantage: the workers are started once.
    }
    loaders = DataLoader(train, shuffle=True, **keys), DataLoader(val, **keys)
    run_lightning(work, loaders, gradient_clip_val=CLIP_NORM)


def run_by_hand(work: Work) -> None:
    """Trains by a loop written in plain torch."""
    train, val = in_memory_batches(work.data_dir)
    network = build_network(work.task)
    optimizer, scheduler = build_optimizer(network, work.task)
    for _ in range(work.epochs):
        work.timer.on_train_epoch_start()
        network.train()
        for images, labels in train:
            optimizer.zero_grad()
            functional.cross_entropy(network(images), labels).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            scheduler.step()
        work.timer.on_validation_start()
        network.eval()
        with torch.no_grad():
            for images, labels in val:
                logits = network(images)
                functional.cross_entropy(logits, labels)
                (logits.argmax(dim=-1) == labels).float().mean()
    work.timer.on_train_end()


CONTESTANTS: dict[str, Callable[[Work], None]] = {
    "ours": run_ours,
    "ours_unsaved": run_ours_unsaved,
    "bare": run_bare,
    "bare_unclipped": run_bare_unclipped,
    "per_sample_0": functools.partial(run_per_sample, num_workers=0),
    "per_sample_2": functools.partial(run_per_sample, num_workers=2),
    "by_hand": run_by_hand,
}


def main() -> None:
    """Runs one contestant; an epoch starts with each line from standard input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CONTESTANTS)
    parser.add_argument("--task", choices=["mlp", "fnn"], required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--reports-fd", type=int, required=True, help="an open file descriptor to write the times to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with os.fdopen(arguments.reports_fd, "w") as reports:
        CONTESTANTS[arguments.name](Work(arguments.task, arguments.data_dir, arguments.epochs, EpochTimer(reports)))


if __name__ == "__main__":
    main()
