"""The base of every data module."""

from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass, fields
from functools import partial
from inspect import signature
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.distributed
from hydra_zen import instantiate
from omegaconf import MISSING, DictConfig
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from common.config import Device, is_link, linked
from common.dl.datamodule.in_memory import InMemoryDataset
from common.dl.datamodule.own_loader import own_sampler
from common.dl.datamodule.sampler import EpochBatchSampler, InOrderBatchSampler
from common.dl.datamodule.workers import SeededPerBatch, start_worker
from common.errors import ConfigError
from common.utils.beartype import ge, not_empty

Split = Literal["train", "val", "test"]


_DATALOADER_DEFAULTS = {name: parameter.default for name, parameter in signature(DataLoader).parameters.items()}


@dataclass
class BaseDataModuleConfig:
    """Configures a data module.

    Attributes:
        data_dir: Where the data lies, or is downloaded to; by default the subtask's.
        device: By default the subtask's; `cpu` where there is none, as in a notebook.
        seed: Fixes the split of the data and the order of batches; by default the subtask's, 0 where there is none.
        max_per_device_batch_size: Upper bound when the batch size is chosen automatically; null sets none.
        fixed_per_device_batch_size: The batch size; null chooses one automatically.
        max_per_device_num_workers: Upper bound when the number of data-loading workers is chosen automatically; null
            sets none beyond the CPUs that the job was given.
        fixed_per_device_num_workers: The number of workers, 0 for none; null chooses one automatically.
    """

    data_dir: Annotated[str, not_empty()] = linked("config.data_dir")
    device: Device = linked("config.device")
    seed: Annotated[int, ge(0)] = linked("config.seed")
    max_per_device_batch_size: Annotated[int, ge(1)] | None = None
    fixed_per_device_batch_size: Annotated[int, ge(1)] | None = None
    max_per_device_num_workers: Annotated[int, ge(0)] | None = None
    fixed_per_device_num_workers: Annotated[int, ge(0)] | None = None

    def __post_init__(self) -> None:
        """Takes the place of the subtask where there is none.

        Raises:
            ValueError: nothing says where the data lies.
        """
        if is_link(self.data_dir):
            raise ValueError("data_dir is not given, and there is no run to take it from: give data_dir=<a folder>.")
        self.device = "cpu" if is_link(self.device) else self.device
        self.seed = 0 if is_link(self.seed) else self.seed


@dataclass
class Datasets:
    """The datasets of a data module.

    Attributes:
        train: None until `setup` has filled it.
        val: None until `setup` has filled it.
        test: None for data that has no test set.
    """

    train: Dataset[Any] | None = None
    val: Dataset[Any] | None = None
    test: Dataset[Any] | None = None


class BaseDataModule(LightningDataModule, ABC):
    """Serves batches; a subclass says where the data comes from.

    A subclass writes `prepare_data` (download, once per machine) and `setup` (fill `self.datasets`), and, where batches
    need it, `transform_batch`.

    Args:
        config: See the config's own fields.
        dataloader: A partial of torch's `DataLoader`. Its keys hold for data served from memory too.

    Raises:
        ConfigError: a key is given that the data module decides by itself.
    """

    owned_dataloader_keys: ClassVar[dict[str, str]] = {
        "dataset": "self.datasets, which setup() fills",
        "batch_size": "datamodule.config.fixed_per_device_batch_size",
        "sampler": "config.seed, from which the order follows",
        "batch_sampler": "config.seed, from which the order follows",
        "num_workers": "datamodule.config.fixed_per_device_num_workers",
        "generator": "config.seed, from which the order follows",
    }

    def __init__(self, config: BaseDataModuleConfig, dataloader: partial[DataLoader[Any]]) -> None:
        super().__init__()
        for key, instead in self.owned_dataloader_keys.items():
            if dataloader.keywords.get(key, default := _DATALOADER_DEFAULTS[key]) not in (default, MISSING):
                raise ConfigError(f"datamodule.dataloader.{key} has no effect here: use {instead}.")
        self.config = config
        self.dataloader = dataloader
        self.datasets = Datasets()
        self.per_device_batch_size = config.fixed_per_device_batch_size or 1
        self.per_device_num_workers = config.fixed_per_device_num_workers or 0
        self.position = {"epoch": 0, "batch": 0}

    @classmethod
    def settle(cls, node: DictConfig) -> dict[str, Any]:
        """Prepares the data, and writes what was found into the data module's configuration.

        Args:
            node: The data module's node of the configuration, changed in place.

        Returns:
            What is known of the data, its fingerprint included; part of the run's identity.
        """
        datamodule: BaseDataModule = instantiate(node)
        datamodule.prepare_data()
        for config_field in fields(datamodule.config):
            found = getattr(datamodule.config, config_field.name)
            if found != node.config[config_field.name]:
                node.config[config_field.name] = found
        return datamodule.describe_data()

    def describe_data(self) -> dict[str, Any]:
        """Returns what tells this data from other data: its source, a fingerprint of its content.

        Called after `prepare_data`. A run never continues on data whose description is another.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Returns what was chosen for this run."""
        return {"batch_size": self.per_device_batch_size, "num_workers": self.per_device_num_workers}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes what was chosen when the run began."""
        self.per_device_batch_size = state_dict["batch_size"]
        self.per_device_num_workers = state_dict["num_workers"]

    @abstractmethod
    def prepare_data(self) -> None:
        """Downloads or checks the data. Sets in `self.config` what `auto` turned out to mean."""

    @abstractmethod
    def setup(self, stage: str | None = None) -> None:
        """Fills `self.datasets`, if need be for `stage == "fit"` alone."""

    def fill(self) -> None:
        """Fills the datasets as for training, where Lightning has asked for another stage and got nothing."""
        if self.datasets.train is None:
            self.setup("fit")

    def example_batch(self) -> Any:
        """Returns a small batch of the shapes and types that the network will get, made up without reading any data.

        With it, the preflight of a sweep sees whether a network fits the data. None: it cannot.
        """
        return None

    def train_weights(self) -> Tensor | None:
        """Returns one weight per training sample: an epoch then draws as many samples, in proportion, with replacement.

        The draws follow from the seed and the epoch, and are shared by all ranks. None: each sample once an epoch.
        """
        return None

    def transform_batch(self, batch: Any, split: Split) -> Any:
        """Turns a batch, already on its device, into what the network takes: normalisation, augmentation.

        By default it only makes a tuple again of what the dataset gave as one: torch's loader makes lists of tuples.

        Args:
            batch: As the loader gave it.
            split: Which data it comes from; augmentations are for `train`.
        """
        return tuple(batch) if isinstance(batch, list) else batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Lightning's hook for `transform_batch`."""
        trainer = self.trainer
        is_training = trainer is not None and trainer.training
        is_testing = trainer is not None and trainer.testing
        return self.transform_batch(batch, "train" if is_training else "test" if is_testing else "val")

    def train_dataloader(self) -> DataLoader[Any]:
        """Returns the loader of the training set; it begins at `self.position`."""
        loader = self.make_dataloader("train")
        sampler = sampler_of(loader)
        sampler.start = self.position
        sampler.set_epoch(self.position["epoch"])
        return loader

    def val_dataloader(self) -> DataLoader[Any]:
        """Returns the loader of the validation set."""
        return self.make_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Returns the loader of the test set."""
        return self.make_dataloader("test")

    def make_dataloader(self, split: Split) -> DataLoader[Any]:
        """Returns a loader whose batches are a pure function of (seed, epoch).

        Args:
            split: Which dataset to serve.

        Raises:
            ValueError: `setup` left that dataset empty.
        """
        dataset = getattr(self.datasets, split)
        if dataset is None:
            raise ValueError(f"{type(self).__name__}.setup() did not fill self.datasets.{split}.")
        sampler = self._sampler(dataset, split)
        served, keys = self._loader_keys(dataset)
        # A given collate_fn expects what torch hands it: a list of samples.
        in_memory = isinstance(dataset, InMemoryDataset) and keys.get("collate_fn") is None
        return self.dataloader.func(
            served,
            **keys,
            **({"sampler": sampler, "batch_size": None} if in_memory else {"batch_sampler": sampler}),
            num_workers=self.per_device_num_workers,
            generator=sampler.workers_generator,
        )

    def try_loader(self) -> None:
        """Makes a loader of nothing, to see whether torch takes the keys of `datamodule.dataloader`."""
        served, keys = self._loader_keys([0])
        self.dataloader.func(served, **keys, num_workers=self.per_device_num_workers)

    def _loader_keys(self, dataset: Any) -> tuple[Any, dict[str, Any]]:
        """Returns what a loader serves of a dataset, and the keys that it is given besides."""
        keys = {
            key: value
            for key, value in self.dataloader.keywords.items()
            if key not in (*self.owned_dataloader_keys, "shuffle", "drop_last")
        }
        served = dataset
        if self.per_device_num_workers == 0:  # Torch refuses these where there are no workers.
            keys |= {"prefetch_factor": None, "persistent_workers": False}
            keys |= {"timeout": 0, "multiprocessing_context": None}
        else:
            served = SeededPerBatch(dataset)
            keys["worker_init_fn"] = partial(start_worker, keys.get("worker_init_fn"))
        return served, keys

    def _sampler(self, dataset: Dataset[Any], split: Split) -> EpochBatchSampler:
        assert isinstance(dataset, Sized)
        trainer: Any = self.trainer  # Lightning sets overfit_batches, and declares it nowhere.
        is_overfitting = trainer is not None and trainer.overfit_batches > 0
        shuffle = split == "train" and self.dataloader.keywords.get("shuffle") is not False and not is_overfitting
        is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        weights = _checked(self.train_weights(), len(dataset)) if split == "train" and not is_overfitting else None
        shuffle |= weights is not None
        sampler_class = EpochBatchSampler if shuffle else InOrderBatchSampler
        return sampler_class(
            len(dataset),
            self.per_device_batch_size,
            shuffle=shuffle,
            drop_last=split == "train" and bool(self.dataloader.keywords.get("drop_last")),
            seed=self.config.seed,
            rank=torch.distributed.get_rank() if is_distributed else 0,
            num_ranks=torch.distributed.get_world_size() if is_distributed else 1,
            weights=weights,
        )


def _checked(weights: Tensor | None, num_samples: int) -> Tensor | None:
    """Returns the weights of samples as they are.

    Raises:
        ValueError: nothing can be drawn in proportion to them.
    """
    if weights is None:
        return None
    is_good = weights.shape == (num_samples,) and bool((weights >= 0).all() and 0 < weights.sum() < torch.inf)
    if not is_good:
        raise ValueError(
            f"train_weights() must return {num_samples} numbers from 0, one for each training sample, and not all 0; "
            f"received {weights}."
        )
    return weights


def sampler_of(loader: DataLoader[Any]) -> EpochBatchSampler:
    """Returns the sampler that `make_dataloader` gave a loader."""
    sampler = own_sampler(loader)
    assert sampler is not None
    return sampler
