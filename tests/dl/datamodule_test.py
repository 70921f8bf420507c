"""The base of every data module: loaders whose order is fixed, for data in memory and for map-style datasets."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra_zen import instantiate
from omegaconf import OmegaConf
from pytorch_lightning import Callback
from torch.utils.data import DataLoader

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig
from common.dl.datamodule.in_memory import InMemoryDataset
from common.dl.datamodule.sampler import EpochBatchSampler

BOTH = pytest.mark.parametrize("map_style", [False, True], ids=["in_memory", "map_style"])


def numbers(loader: Any) -> list[list[int]]:
    """Returns the numbers of the samples in each batch."""
    return [batch[0][:, 0].int().tolist() for batch in loader]


def expected_numbers(num_samples: int, batch_size: int, epoch: int, seed: int = 0) -> list[list[int]]:
    sampler = EpochBatchSampler(num_samples, batch_size, shuffle=True, drop_last=False, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


def first_sample_only(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Collates as torch has it, from a list of samples, but keeps the first alone."""
    inputs, label = samples[0]
    return inputs[None], label[None]


def test_in_memory_dataset_gives_a_sample_or_a_batch() -> None:
    images, labels = torch.arange(12).reshape(4, 3), torch.arange(4)
    dataset = InMemoryDataset(images, labels)
    assert len(dataset) == 4
    assert dataset[1][0].tolist() == [3, 4, 5]
    assert dataset[1][1].item() == 1
    assert dataset[[3, 0]][0].tolist() == [[9, 10, 11], [0, 1, 2]]
    assert dataset[[3, 0]][1].tolist() == [3, 0]


def test_in_memory_dataset_refuses_tensors_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"must have one length; received \[4, 3\]"):
        InMemoryDataset(torch.zeros(4), torch.zeros(3))


@BOTH
def test_training_batches_follow_the_samplers_order(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    assert numbers(make_datamodule(map_style=map_style).train_dataloader()) == expected_numbers(10, 4, epoch=0)


@BOTH
def test_validation_and_test_are_in_order(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    module = make_datamodule(map_style=map_style)
    assert numbers(module.val_dataloader()) == [[0, 1, 2, 3], [4]]
    assert numbers(module.test_dataloader()) == [[0, 1, 2, 3], [4]]


@BOTH
def test_labels_stay_with_their_inputs(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    module = make_datamodule(map_style=map_style)
    inputs, labels = module.datasets.train.tensors
    for batch_inputs, batch_labels in module.train_dataloader():
        chosen = batch_inputs[:, 0].int().tolist()
        assert torch.equal(batch_inputs[:, 2:], inputs[chosen, 2:])  # The second gets noise in map style.
        assert torch.equal(batch_labels, labels[chosen])


@BOTH
def test_workers_do_not_change_the_order(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    alone = make_datamodule(map_style=map_style, fixed_per_device_num_workers=0)
    helped = make_datamodule(map_style=map_style, fixed_per_device_num_workers=2, keys={"prefetch_factor": 3})
    assert helped.train_dataloader().num_workers == 2
    assert numbers(helped.train_dataloader()) == numbers(alone.train_dataloader())


def test_shuffle_false_keeps_the_datasets_order(make_datamodule: Callable[..., Any]) -> None:
    module = make_datamodule(keys={"shuffle": False})
    assert numbers(module.train_dataloader()) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_shuffle_true_does_not_shuffle_validation(make_datamodule: Callable[..., Any]) -> None:
    assert numbers(make_datamodule(keys={"shuffle": True}).val_dataloader()) == [[0, 1, 2, 3], [4]]


@BOTH
def test_drop_last_holds_for_training_alone(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    module = make_datamodule(map_style=map_style, keys={"drop_last": True})
    assert [len(batch) for batch in numbers(module.train_dataloader())] == [4, 4]
    assert len(module.train_dataloader()) == 2
    assert [len(batch) for batch in numbers(module.val_dataloader())] == [4, 1]


@BOTH
def test_collate_fn_receives_a_list_of_samples(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    module = make_datamodule(map_style=map_style, keys={"collate_fn": first_sample_only})
    assert numbers(module.train_dataloader()) == [[batch[0]] for batch in expected_numbers(10, 4, epoch=0)]


@BOTH
def test_pin_memory_and_other_keys_reach_the_loader(make_datamodule: Callable[..., Any], map_style: bool) -> None:
    keys = {"pin_memory": True, "timeout": 7, "persistent_workers": True, "prefetch_factor": 5, "in_order": False}
    loader = make_datamodule(map_style=map_style, keys=keys, fixed_per_device_num_workers=1).train_dataloader()
    assert {key: getattr(loader, key) for key in keys} == keys


def test_keys_that_need_workers_are_dropped_without_them(make_datamodule: Callable[..., Any]) -> None:
    module = make_datamodule(keys={"timeout": 7, "persistent_workers": True, "prefetch_factor": 5})
    assert len(numbers(module.train_dataloader())) == 3


@pytest.mark.parametrize("workers", [0, 1])
@BOTH
def test_each_epoch_of_a_trainer_has_its_own_fixed_order(
    make_datamodule: Callable[..., Any],
    make_classifier: Callable[..., Any],
    make_trainer: Callable[..., Any],
    map_style: bool,
    workers: int,
) -> None:
    seen: list[list[int]] = []

    class Recorder(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch[0][:, 0].int().tolist())

    module = make_datamodule(
        map_style=map_style, seed=5, fixed_per_device_num_workers=workers, keys={"persistent_workers": True}
    )
    make_trainer(max_epochs=3, callbacks=[Recorder()]).fit(make_classifier(), datamodule=module)
    assert seen == [batch for epoch in range(3) for batch in expected_numbers(10, 4, epoch, seed=5)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_dataset_left_empty_is_named(make_datamodule: Callable[..., Any], split: str) -> None:
    module = make_datamodule(**{split: 0})
    with pytest.raises(ValueError, match=rf"TinyDataModule\.setup\(\) did not fill self\.datasets\.{split}\."):
        module.make_dataloader(split)


class Transforming(BaseDataModule):
    """Notes for which split each batch is transformed."""

    def prepare_data(self) -> None:
        """Nothing to prepare."""

    def setup(self, stage: str | None = None) -> None:
        """Fills the datasets."""
        self.datasets.train = self.datasets.val = self.datasets.test = InMemoryDataset(
            torch.randn(4, 4), torch.zeros(4, dtype=torch.long)
        )
        self.seen: list[str] = []

    def transform_batch(self, batch: Any, split: Any) -> Any:
        """Notes the split."""
        self.seen.append(split)
        return batch


def test_transform_batch_is_told_the_split(
    tmp_path: Path, make_classifier: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    config = BaseDataModuleConfig(data_dir=str(tmp_path), fixed_per_device_batch_size=4)
    module, classifier = Transforming(config, partial(DataLoader)), make_classifier()
    trainer = make_trainer(num_sanity_val_steps=1)
    trainer.fit(classifier, datamodule=module)
    assert module.seen == ["val", "train", "val"]
    trainer.validate(classifier, datamodule=module, verbose=False)
    trainer.test(classifier, datamodule=module, verbose=False)
    assert module.seen[-1] == "test"
    assert set(module.seen[3:-1]) <= {"val"}


class Settling(Transforming):
    """Finds another batch size than the configured one."""

    def prepare_data(self) -> None:
        """Finds something."""
        self.config.max_per_device_batch_size = 17


def test_settle_writes_what_was_found_into_the_node_and_nothing_else() -> None:
    config = {"_target_": f"{BaseDataModuleConfig.__module__}.BaseDataModuleConfig", "data_dir": "here", "seed": 3}
    config |= {"max_per_device_batch_size": None, "fixed_per_device_batch_size": None, "device": "cpu"}
    config |= {"max_per_device_num_workers": None, "fixed_per_device_num_workers": None}
    loader = {"_target_": "torch.utils.data.DataLoader", "_partial_": True}
    node = OmegaConf.create({"_target_": "unused", "_partial_": True, "config": config, "dataloader": loader})
    expected = OmegaConf.to_container(node)
    expected["config"]["max_per_device_batch_size"] = 17  # type: ignore[call-overload, index]

    def build(node: Any) -> Any:
        return partial(Settling, instantiate(node.config), instantiate(node.dataloader))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("common.dl.datamodule.base.instantiate", build)
        Settling.settle(node)
    assert OmegaConf.to_container(node) == expected


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"device": "tpu"}, {"fixed_per_device_batch_size": 0}, {"fixed_per_device_num_workers": -1}],
    ids=str,
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=str(next(iter(wrong)))):
        BaseDataModuleConfig(data_dir="somewhere", **wrong)


@pytest.mark.parametrize(
    "weights",
    [torch.ones(9), torch.zeros(10), torch.full((10,), -1.0), torch.full((10,), torch.nan), torch.ones(10, 1)],
)
def test_weights_by_which_nothing_can_be_drawn_are_refused(
    make_datamodule: Callable[..., Any], weights: torch.Tensor
) -> None:
    module = make_datamodule()
    module.train_weights = lambda: weights
    with pytest.raises(ValueError, match=r"train_weights\(\) must return 10 numbers from 0.* received tensor"):
        module.train_dataloader()


def test_weights_hold_for_training_alone(make_datamodule: Callable[..., Any]) -> None:
    module = make_datamodule()
    module.train_weights = lambda: torch.tensor([0.0] * 9 + [1.0])
    assert numbers(module.train_dataloader()) == [[9] * 4, [9] * 4, [9] * 2]
    assert numbers(module.val_dataloader()) == [[0, 1, 2, 3], [4]]
