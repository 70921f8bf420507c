"""Classification: cross-entropy, accuracy, and a look at samples.

Axes: B batch; K classes; the rest of an input's axes are its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.classification import MulticlassAccuracy

from common.dl.litmodule.base import BaseLitModule, BaseLitModuleConfig
from common.run.plots import plot_images
from common.utils.beartype import ge, shape_checked

NUM_PLOTTED_SAMPLES = 40


@dataclass(kw_only=True)
class BaseClassificationLitModuleConfig(BaseLitModuleConfig):
    """Configures a classifier.

    Attributes:
        num_classes: Number of classes, K.
    """

    num_classes: Annotated[int, ge(2)]


class BaseClassificationLitModule(BaseLitModule):
    """Trains a classifier with cross-entropy, and logs its accuracy.

    Accuracy is the fraction of all samples that are right (`MulticlassAccuracy` with micro averaging).
    """

    config: BaseClassificationLitModuleConfig

    def __init__(
        self,
        config: BaseClassificationLitModuleConfig,
        nnmodule: nn.Module,
        optimizer: partial[Optimizer],
        scheduler: partial[LRScheduler],
    ) -> None:
        super().__init__(config, nnmodule, optimizer, scheduler)
        self.accuracy = nn.ModuleDict(
            {
                stage: MulticlassAccuracy(num_classes=config.num_classes, average="micro", validate_args=False)
                for stage in ("train_", "val_", "test_")  # nn.Module has attributes train and eval of its own.
            }
        )

    def try_batch(self, batch: Sequence[Tensor]) -> None:
        """Takes a batch as the first training step would.

        Raises:
            ValueError: the network does not give a score for each class.
        """
        num_scores, num_classes = self.compute_logits(batch[0]).shape[1], self.config.num_classes
        if num_scores != num_classes:
            raise ValueError(f"it gives {num_scores} scores for litmodule.config.num_classes={num_classes}")
        super().try_batch(batch)

    def step(self, batch: Sequence[Tensor], batch_idx: int) -> Mapping[str, Any]:
        """Computes loss and accuracy.

        Args:
            batch: Inputs, and their labels from 0 to K − 1: a tuple, or the list that torch's loader makes of one.
            batch_idx: The batch's number in its epoch.
        """
        inputs, labels = batch
        logits = self.compute_logits(inputs)
        output: dict[str, Any] = {"loss": self.compute_loss(logits, labels)}
        if self.is_logging_step:
            metric: Any = self.accuracy[f"{self.stage}_"]
            if self.stage == "train":
                output["accuracy"] = metric(logits, labels)
                metric.reset()
            else:
                metric.update(logits, labels)
                output["accuracy"] = metric
        if self.wants_samples:
            self.keep_samples(input=inputs, label=labels, prediction=logits.argmax(dim=-1), logits=logits)
        return output

    @shape_checked
    def compute_logits(self, inputs: Float[Tensor, " B *input_shape"]) -> Float[Tensor, " B K"]:
        """Returns the network's scores, one per class.

        Args:
            inputs: What the network takes.
        """
        logits: Tensor = self.nnmodule(inputs)
        return logits

    @shape_checked
    def compute_loss(self, logits: Float[Tensor, " B K"], labels: Int[Tensor, " B"]) -> Float[Tensor, ""]:
        """Returns the cross-entropy, averaged over the batch.

        Args:
            logits: The network's scores.
            labels: From 0 to K − 1.
        """
        return functional.cross_entropy(logits, labels)

    def view_input(self, value: Tensor) -> Tensor | None:
        """Returns an input as a picture, or None where inputs are no pictures.

        Args:
            value: One sample's input.

        Returns:
            Height × width, or height × width × 3, in [0, 1].
        """
        return None

    def view_sample(self, name: str, value: Tensor) -> Any:
        """Shows inputs as pictures where they are some."""
        picture = self.view_input(value) if name == "input" else None
        if picture is None:
            return super().view_sample(name, value)
        import wandb

        return wandb.Image((picture * 255).to(torch.uint8).numpy())

    @torch.no_grad()
    def save_plots(self, batch: Any, folder: Path) -> list[Path]:
        """Draws a grid of samples with their predictions, the wrong ones marked."""
        inputs, labels = (tensor[:NUM_PLOTTED_SAMPLES] for tensor in batch)
        pictures = [self.view_input(value) for value in inputs.cpu()]
        if any(picture is None for picture in pictures):
            return []
        predictions = self.compute_logits(inputs).argmax(dim=-1).tolist()
        path = folder / "samples.png"
        images = [picture.numpy() for picture in pictures if picture is not None]
        plot_images(path, images, labels.tolist(), predictions)
        return [path]
