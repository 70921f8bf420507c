"""The data module: forty samples of three classes, served in every way that a project may choose."""

import random
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler, WeightedRandomSampler

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig, Datasets
from common.dl.datamodule.in_memory import InMemoryDataset

NUM_FEATURES, NUM_CLASSES = 6, 3
NOISE = 0.1
SIZES = {"train": 40, "val": 12, "test": 11}

OwnLoader = Literal["shuffled", "weighted", "in_order"]


@dataclass
class LearningDataModuleConfig(BaseDataModuleConfig):
    """Configures the data.

    Attributes:
        is_noisy: Whether samples are made one by one, with random numbers, instead of cut out of memory.
        has_weights: Whether some training samples are drawn more often than others.
        own_loader: Which training loader a data module with loaders of its own has.
    """

    is_noisy: bool = False
    has_weights: bool = False
    own_loader: OwnLoader = "shuffled"


class NoisySamples(Dataset[tuple[Tensor, Tensor]]):
    """Makes samples one by one, with noise from each of the generators that a dataset may draw from.

    Args:
        inputs: One row a sample.
        labels: One a sample.
        scale: Of the noise.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, scale: float) -> None:
        self.inputs, self.labels, self.scale = inputs, labels, scale

    def __len__(self) -> int:
        """Returns the number of samples."""
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Returns a sample and its label."""
        noise = torch.randn(NUM_FEATURES) + random.random() + float(np.random.rand())
        return self.inputs[index] + self.scale * noise, self.labels[index]


class LearningDataModule(BaseDataModule):
    """Serves the samples."""

    config: LearningDataModuleConfig

    def prepare_data(self) -> None:
        """Nothing is to be prepared: samples are made."""

    def setup(self, stage: str | None = None) -> None:
        """Makes the samples: a class is the feature among the first three that is largest, mostly."""
        self.datasets = Datasets(**{split: self._dataset(split) for split in SIZES})

    def train_weights(self) -> Tensor | None:
        """Returns how often a sample is drawn."""
        return 1.0 + samples_of("train")[1] if self.config.has_weights else None

    def _dataset(self, split: str) -> Dataset[Any]:
        samples = samples_of(split)
        if not self.config.is_noisy:
            return InMemoryDataset(*samples)
        return NoisySamples(*samples, scale=NOISE if split == "train" else 0.0)


class OwnLoaderDataModule(LearningDataModule):
    """Serves the training samples by a loader of its own, as any project of Lightning's does."""

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the loader."""
        dataset: Any = NoisySamples(*samples_of("train"), scale=NOISE)
        sampler = {
            "shuffled": lambda: RandomSampler(dataset),
            "weighted": lambda: WeightedRandomSampler((1.0 + dataset.labels).tolist(), len(dataset)),
            "in_order": lambda: None,
        }[self.config.own_loader]()
        keys = {key: value for key, value in self.dataloader.keywords.items() if key in ("persistent_workers",)}
        num_workers = self.per_device_num_workers
        return DataLoader(
            dataset,
            self.per_device_batch_size,
            sampler=sampler,
            num_workers=num_workers,
            **(keys if num_workers else {}),
        )


def samples_of(split: str) -> tuple[Tensor, Tensor]:
    """Returns inputs and labels, always the same."""
    generator = torch.Generator().manual_seed(sorted(SIZES).index(split))
    inputs = torch.randn(SIZES[split], NUM_FEATURES, generator=generator)
    noise = 0.3 * torch.randn(SIZES[split], NUM_CLASSES, generator=generator)
    return inputs, (inputs[:, :NUM_CLASSES] + noise).argmax(dim=1)
