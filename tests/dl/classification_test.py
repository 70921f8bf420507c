"""Classification: the loss is cross-entropy, accuracy is the fraction of samples that are right, pictures show it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from common.dl.litmodule.classification import BaseClassificationLitModule, BaseClassificationLitModuleConfig
from common.run.plots import NUM_IMAGE_COLUMNS, WRONG_COLOR


class Claims(nn.Module):
    """Is certain of the class that the second input names."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns logits."""
        claimed = inputs.flatten(1)[:, 1].long()
        return self.scale * functional.one_hot(claimed, self.num_classes).float()


class Pictured(BaseClassificationLitModule):
    """Its inputs are pictures."""

    def view_input(self, value: Tensor) -> Tensor:
        """Returns the picture itself."""
        return value[0].clamp(0, 1)


def pictured(make_classifier: Callable[..., Any], num_classes: int = 3) -> Pictured:
    plain = make_classifier(Claims(num_classes), num_classes)
    return Pictured(plain.config, plain.nnmodule, plain.optimizer, plain.scheduler)


def drawn(module: Any, labels: list[int], claimed: list[int], folder: Path) -> np.ndarray:
    """Returns the pixels of the picture of a batch, R, G and B."""
    images = torch.zeros(len(labels), 1, 8, 8)
    images[:, 0, 4:, :] = 0.5
    images[:, 0, 0, 1] = torch.tensor(claimed).float()
    (path,) = module.save_plots((images, torch.tensor(labels)), folder)
    assert path == folder / "samples.png"
    return np.asarray(Image.open(path).convert("RGB"))


def pixels_of(picture: np.ndarray, color: tuple[int, ...]) -> int:
    return int((picture == color).all(axis=-1).sum())


RED = tuple(int(WRONG_COLOR[start : start + 2], 16) for start in (1, 3, 5))


def test_loss_is_cross_entropy(make_classifier: Callable[..., Any]) -> None:
    module = make_classifier().eval()
    inputs, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    expected = functional.cross_entropy(module.nnmodule(inputs), labels)
    assert torch.equal(module.step((inputs, labels), 0)["loss"], expected)


def test_accuracy_over_uneven_batches_is_the_fraction_of_all_samples(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    data = make_datamodule(val=9, test=6)  # Batches of 4, 4 and 1; of 4 and 2.
    for split, num_right in (("val", 8), ("test", 3)):
        inputs, labels = getattr(data.datasets, split).tensors
        inputs[:, 1] = labels
        inputs[num_right:, 1] = (labels[num_right:] + 1) % 3
    module, trainer = make_classifier(Claims()), make_trainer()
    validated = trainer.validate(module, datamodule=data, verbose=False)[0]
    tested = trainer.test(module, datamodule=data, verbose=False)[0]
    assert validated["val/accuracy"] == pytest.approx(8 / 9)
    assert tested["test/accuracy"] == pytest.approx(3 / 6)
    again = trainer.validate(module, datamodule=data, verbose=False)[0]
    assert again["val/accuracy"] == pytest.approx(8 / 9)  # Nothing is left over from the last time.


def test_training_accuracy_is_that_of_the_batch(
    make_classifier: Callable[..., Any], make_datamodule: Callable[..., Any], make_trainer: Callable[..., Any]
) -> None:
    data = make_datamodule(train=8, batch_size=4, keys={"shuffle": False})
    inputs, labels = data.datasets.train.tensors
    inputs[:, 1] = labels
    inputs[4:7, 1] = (labels[4:7] + 1) % 3
    trainer = make_trainer(limit_val_batches=0)
    trainer.fit(make_classifier(Claims()), datamodule=data)
    assert trainer.callback_metrics["train/accuracy"].item() == pytest.approx(1 / 4)


def test_different_numbers_of_inputs_and_labels_are_refused_by_the_axis(make_classifier: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match=r"(?s)parameter 'labels'.*Int\[Tensor, 'B'\].*B=6"):
        make_classifier().step((torch.randn(6, 4), torch.zeros(5, dtype=torch.long)), 0)


def test_logits_with_further_axes_are_refused(make_classifier: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match=r"Float\[Tensor, 'B K'\]"):
        make_classifier(nn.Unflatten(1, (2, 2))).compute_logits(torch.randn(6, 4))


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(Exception, match="num_classes"):
        BaseClassificationLitModuleConfig(num_classes=1)


def test_picture_shows_the_images(make_classifier: Callable[..., Any], tmp_path: Path) -> None:
    picture = drawn(pictured(make_classifier), [0] * 12, [0] * 12, tmp_path)
    one_image = pixels_of(picture, (0, 0, 0)) / 12
    assert one_image > 1000  # The dark half of each.
    assert picture.shape[1] > 100 * NUM_IMAGE_COLUMNS


def test_picture_marks_wrong_predictions_and_no_others(make_classifier: Callable[..., Any], tmp_path: Path) -> None:
    module = pictured(make_classifier)
    assert pixels_of(drawn(module, [0, 1, 2], [0, 1, 2], tmp_path), RED) == 0
    one_wrong = pixels_of(drawn(module, [0, 1, 2], [0, 1, 1], tmp_path), RED)
    all_wrong = pixels_of(drawn(module, [1, 2, 0], [0, 1, 1], tmp_path), RED)
    assert one_wrong > 100
    assert all_wrong > 2 * one_wrong


def test_wrong_prediction_is_marked_at_its_place(make_classifier: Callable[..., Any], tmp_path: Path) -> None:
    picture = drawn(pictured(make_classifier), [0, 0, 0, 0], [0, 0, 1, 0], tmp_path)
    columns = np.nonzero((picture == RED).all(axis=-1).any(axis=0))[0] * NUM_IMAGE_COLUMNS // picture.shape[1]
    assert set(columns) == {2}


def test_inputs_that_are_no_pictures_are_not_drawn(make_classifier: Callable[..., Any], tmp_path: Path) -> None:
    assert make_classifier().save_plots((torch.randn(3, 4), torch.zeros(3, dtype=torch.long)), tmp_path) == []
    assert not list(tmp_path.glob("*.png"))
