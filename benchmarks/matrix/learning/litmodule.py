"""The Lightning module: a classifier that draws random numbers, and can be interrupted wherever a project has code."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torchmetrics import MeanMetric

from benchmarks.matrix.interruption import event
from common.dl.litmodule.classification import BaseClassificationLitModule, BaseClassificationLitModuleConfig
from common.dl.litmodule.cond1d_target1d.base import ExponentialAverage
from common.utils.beartype import ge

Schedule = Literal["base", "every_second_step", "epoch", "every_second_epoch", "plateau", "plateau_on_train"]


@dataclass(kw_only=True)
class LearningLitModuleConfig(BaseClassificationLitModuleConfig):
    """Configures the classifier.

    Attributes:
        schedule: When the learning rate changes.
        is_manual: Whether the module takes its steps by itself, with two optimisers.
        logs_means: Whether it logs means over training epochs.
        average_decay: Decay of the average of the network's parameters, which is what is validated; 0: none is kept.
        bad_loss_every: Each how many batches, counted on over epochs, the loss is NaN; 0: never.
    """

    schedule: Schedule = "base"
    is_manual: bool = False
    logs_means: bool = False
    average_decay: Annotated[float, ge(0)] = 0.0
    bad_loss_every: Annotated[int, ge(0)] = 0


class LearningLitModule(BaseClassificationLitModule):
    """Classifies."""

    config: LearningLitModuleConfig

    def __init__(self, config: Any, nnmodule: Any, optimizer: Any, scheduler: Any) -> None:
        super().__init__(config, nnmodule, optimizer, scheduler)
        self.automatic_optimization = not config.is_manual
        self.train_metric = MeanMetric()
        self.average = ExponentialAverage(nnmodule, config.average_decay) if config.average_decay else None

    def compute_logits(self, inputs: Tensor) -> Tensor:
        """Returns the network's scores, or its average's."""
        if self.training or self.average is None:
            return super().compute_logits(inputs)
        scores: Tensor = self.average.module(inputs)
        return scores

    def on_train_batch_end(self, *arguments: Any) -> None:
        """Lets the average follow the network."""
        if self.average is not None:
            self.average.update_parameters(self.nnmodule)

    def configure_optimizers(self) -> Any:
        """Builds one optimiser with one of many schedules, or two optimisers."""
        if self.config.is_manual:
            first, *rest = [parameter for parameter in self.parameters() if parameter.requires_grad]
            optimizers = [self.optimizer([first]), self.optimizer(rest)]
            return optimizers, [self.scheduler(optimizer) for optimizer in optimizers]
        configured = super().configure_optimizers()
        optimizer = configured["optimizer"]
        schedule = self.config.schedule
        if schedule == "every_second_step":
            configured["lr_scheduler"] = {"scheduler": StepLR(optimizer, 3, 0.7), "interval": "step", "frequency": 2}
        elif schedule == "epoch":
            configured["lr_scheduler"] = {"scheduler": StepLR(optimizer, 1, 0.5), "interval": "epoch"}
        elif schedule == "every_second_epoch":
            configured["lr_scheduler"] = {"scheduler": StepLR(optimizer, 1, 0.5), "interval": "epoch", "frequency": 2}
        elif schedule.startswith("plateau"):
            plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.5)
            monitor = "train/mean" if schedule == "plateau_on_train" else "val/loss"
            configured["lr_scheduler"] = {"scheduler": plateau, "monitor": monitor, "strict": False}
        return configured

    def step(self, batch: Sequence[Tensor], batch_idx: int) -> Mapping[str, Any]:
        """Computes the loss, and in training whatever the configuration adds."""
        event(self.stage)
        if self.stage != "train":
            return super().step(batch, batch_idx)
        inputs, labels = batch
        noise = torch.randn_like(inputs) * random.random()
        output = dict(super().step((inputs + 0.1 * noise, labels), batch_idx))
        every = self.config.bad_loss_every
        if every and (self.trainer.current_epoch + batch_idx) % every == every - 1:
            output["loss"] = output["loss"] * math.nan
        if self.config.logs_means:
            self._log_means(output["loss"].detach(), len(labels))
        if self.config.is_manual:
            self._take_steps(output["loss"])
        return output

    def on_after_backward(self) -> None:
        """An event: gradients are there, and no step is taken yet."""
        event("backward")

    def on_train_epoch_end(self) -> None:
        """An event: the epoch's batches are over."""
        event("epoch_end")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """An event: a checkpoint is about to be written."""
        super().on_save_checkpoint(checkpoint)
        event("save")
        event("write", writes_to=Path(self.trainer.default_root_dir))

    def _log_means(self, loss: Tensor, batch_size: int) -> None:
        value = torch.nan_to_num(loss)
        self.log("train/mean", value, on_step=False, on_epoch=True, batch_size=batch_size)
        self.log("train/both", value, on_step=True, on_epoch=True, batch_size=batch_size)
        self.log("train/max", value, on_step=False, on_epoch=True, reduce_fx="max", batch_size=batch_size)
        self.train_metric.update(value)
        self.log("train/metric", self.train_metric, on_step=False, on_epoch=True, batch_size=batch_size)

    def _take_steps(self, loss: Tensor) -> None:
        optimizers: Any = self.optimizers()
        schedulers: Any = self.lr_schedulers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
