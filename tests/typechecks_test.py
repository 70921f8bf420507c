"""Run-time type checks are on in `common` and in `projects`, and tensor shapes are really checked."""

from typing import Any

import pytest
import torch
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from common.dl.datamodule.sampler import EpochBatchSampler
from common.dl.litmodule._nnmodule.feedforward import FNN, FNNConfig
from common.launch.resources import Resources
from common.run.folder import name_of_point, reserve_folder
from common.run.metrics import MetricsFile
from common.utils.beartype import shape_checked
from common.utils.misc import nearest
from projects.classify_mnist.datamodule import has_mnist, normalize
from projects.classify_mnist.litmodule import MNISTClassificationLitModule

WRONG: Any = object()


@pytest.mark.parametrize(
    "call",
    [
        lambda: nearest(1, WRONG),
        lambda: reserve_folder("text, not a Path"),  # type: ignore[arg-type]
        lambda: name_of_point("0", 1, []),  # type: ignore[arg-type]
        lambda: has_mnist("text, not a Path"),  # type: ignore[arg-type]
    ],
    ids=["common.utils", "common.run", "common.run: int", "projects"],
)
def test_a_function_refuses_a_wrong_type(call: Any) -> None:
    with pytest.raises(BeartypeCallHintViolation):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: MetricsFile("text, not a Path"),  # type: ignore[arg-type]
        lambda: EpochBatchSampler.set_epoch(EpochBatchSampler(1, 1, shuffle=False, drop_last=False, seed=0), "0"),  # type: ignore[arg-type]
        lambda: Resources(cpus_per_task="4"),  # type: ignore[arg-type]
        lambda: Resources(cpus_per_task=0),
        lambda: FNNConfig(input_size=0, output_size=1),
        lambda: MNISTClassificationLitModule.view_input(WRONG, "not a tensor"),  # type: ignore[arg-type]
    ],
    ids=["common.run", "common.dl", "common.launch", "validated int", "validated field", "projects"],
)
def test_a_method_refuses_a_wrong_type(call: Any) -> None:
    with pytest.raises(BeartypeCallHintViolation):
        call()


def test_a_float_field_takes_an_int() -> None:
    from projects.classify_mnist.datamodule import MNISTDataModuleConfig

    with pytest.raises(BeartypeCallHintViolation, match="val_fraction"):
        MNISTDataModuleConfig(data_dir="x", val_fraction=1)  # Judged by its value, < 1, and not by its type.


@pytest.mark.parametrize("images", [torch.zeros(2, 28, 27, dtype=torch.uint8), torch.zeros(2, 28, 28)])
def test_a_function_refuses_a_wrong_shape_or_kind(images: Tensor) -> None:
    with pytest.raises(TypeCheckError):
        normalize(images)


def test_a_network_refuses_a_wrong_kind_of_number() -> None:
    network = FNN(FNNConfig(input_size=4, output_size=2))
    assert network(torch.zeros(3, 2, 2)).shape == (3, 2)
    with pytest.raises(TypeCheckError):
        network(torch.zeros(3, 2, 2, dtype=torch.int64))


@shape_checked
def _paired(x: Float[Tensor, " B I"], y: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    return x.sum(dim=1) + y if len(y) != 7 else y[:1]


def test_an_axis_is_one_size_in_all_arguments() -> None:
    assert _paired(torch.zeros(3, 2), torch.zeros(3)).shape == (3,)
    with pytest.raises(TypeCheckError):
        _paired(torch.zeros(3, 2), torch.zeros(4))


def test_an_axis_is_one_size_in_arguments_and_result() -> None:
    with pytest.raises(TypeCheckError):
        _paired(torch.zeros(7, 2), torch.zeros(7))


def test_a_classifier_refuses_more_labels_than_logits() -> None:
    module: Any = object.__new__(MNISTClassificationLitModule)
    with pytest.raises(TypeCheckError):
        module.compute_loss(torch.zeros(3, 10), torch.zeros(4, dtype=torch.int64))
