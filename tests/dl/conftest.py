"""Small data, small networks and quiet trainers for the tests of `common.dl`."""

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader, Dataset

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig, Datasets
from common.dl.datamodule.in_memory import InMemoryDataset
from common.dl.litmodule.base import BaseLitModule, BaseLitModuleConfig
from common.dl.litmodule.classification import BaseClassificationLitModule, BaseClassificationLitModuleConfig
from common.dl.utils.lightning import silence_messages

NUM_INPUTS, NUM_CLASSES = 4, 3


class MapStyle(Dataset[tuple[Tensor, Tensor]]):
    """Serves sample by sample, and draws random numbers from every source on the way, as augmentations do."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Returns one sample."""
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        inputs, labels = (tensor[index] for tensor in self.tensors)
        inputs = inputs.clone()
        inputs[1] += noise  # The first is the sample's number.
        return inputs, labels


class TinyDataModule(BaseDataModule):
    """Samples whose first input is their number, so that a batch tells which samples it holds."""

    def __init__(
        self,
        config: BaseDataModuleConfig,
        dataloader: partial[DataLoader[Any]],
        sizes: Mapping[str, int],
        dataset: Callable[..., Dataset[Any]],
    ) -> None:
        super().__init__(config, dataloader)
        self.sizes = sizes
        self.dataset = dataset

    def prepare_data(self) -> None:
        """Nothing to prepare."""

    def setup(self, stage: str | None = None) -> None:
        """Fills the datasets that have a size, once."""
        if self.datasets != Datasets():
            return
        for split, size in self.sizes.items():
            generator = torch.Generator().manual_seed(len(split))
            inputs = torch.randn(size, NUM_INPUTS, generator=generator)
            inputs[:, 0] = torch.arange(size)
            labels = torch.randint(NUM_CLASSES, (size,), generator=generator)
            setattr(self.datasets, split, self.dataset(inputs, labels))


class Regression(BaseLitModule):
    """Has no `__init__`, and its step returns the loss alone."""

    def step(self, batch: Any, batch_idx: int) -> Tensor:
        """Returns the mean square of the network's output."""
        return self.nnmodule(batch[0][:, 1:]).square().mean()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """Silences what a run silences."""
    silence_messages()


@pytest.fixture
def make_datamodule(tmp_path: Path) -> Callable[..., TinyDataModule]:
    """Returns a function that builds a data module and sets it up."""

    def make(
        train: int = 10,
        val: int = 5,
        test: int = 5,
        *,
        batch_size: int | None = 4,
        map_style: bool = False,
        keys: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> TinyDataModule:
        sizes = {split: size for split, size in (("train", train), ("val", val), ("test", test)) if size}
        module = TinyDataModule(
            BaseDataModuleConfig(data_dir=str(tmp_path), fixed_per_device_batch_size=batch_size, **config),
            partial(DataLoader, **(keys or {})),
            sizes,
            MapStyle if map_style else InMemoryDataset,
        )
        module.setup()
        return module

    return make


@pytest.fixture
def make_parts() -> Callable[..., tuple[Any, ...]]:
    """Returns a function that builds what a Lightning module without classes is made of."""

    def make(scheduler: Any = None, lr: float = 0.1, **config: Any) -> tuple[Any, ...]:
        scheduler = scheduler or partial(ConstantLR, factor=1.0, total_iters=0)
        return BaseLitModuleConfig(**config), nn.Linear(NUM_INPUTS - 1, 2), partial(SGD, lr=lr), scheduler

    return make


@pytest.fixture
def make_classifier() -> Callable[..., BaseClassificationLitModule]:
    """Returns a function that builds a classifier whose network has dropout, buffers and a given seed."""

    def make(nnmodule: nn.Module | None = None, num_classes: int = NUM_CLASSES) -> BaseClassificationLitModule:
        layers = [nn.Linear(NUM_INPUTS, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, num_classes)]
        return BaseClassificationLitModule(
            BaseClassificationLitModuleConfig(num_classes=num_classes),
            nnmodule or nn.Sequential(*layers),
            partial(SGD, lr=0.01),
            partial(ConstantLR, factor=1.0, total_iters=0),
        )

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Returns a function that builds a trainer that writes and prints nothing."""

    def make(**settings: Any) -> Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        defaults = {"max_epochs": 1, "accelerator": "cpu", "enable_checkpointing": False, "log_every_n_steps": 1}
        paths = {"default_root_dir": str(tmp_path), "use_distributed_sampler": False}
        return Trainer(**{**quiet, **defaults, **paths, **settings})

    return make


@pytest.fixture
def regression() -> type[Regression]:
    """The smallest Lightning module."""
    return Regression
