"""The base of every Lightning module."""

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric

from common.dl.config import MAX_SKIPPED_STEPS, OnBadLoss
from common.dl.datamodule.base import sampler_of
from common.dl.datamodule.own_loader import own_sampler
from common.dl.litmodule.parameter_groups import decayed_and_not, weight_decay_of
from common.dl.outputs.wandb import BestEffortWandbLogger, wandb_logger
from common.dl.ranks import mean_over_ranks
from common.errors import ContractError, RunError
from common.utils.beartype import ge

log = logging.getLogger(__name__)

NUM_SHOWN_INDICES = 16


Stage = Literal["train", "val", "test"]

INIT_PARAMETERS = ("config", "nnmodule", "optimizer", "scheduler")


@dataclass
class BaseLitModuleConfig:
    """Configures a Lightning module.

    Attributes:
        wandb_train_log_interval: Training steps between two tables of samples sent to W&B.
        wandb_num_samples: Samples per table; 0 sends none.
        decay_vectors: Whether the optimiser's weight decay also pulls at biases, norms and other vectors, and at what a
            network marks with `_no_weight_decay`, as mamba-ssm does.
    """

    wandb_train_log_interval: Annotated[int, ge(1)] = 500
    wandb_num_samples: Annotated[int, ge(0)] = 3
    decay_vectors: bool = False


class BaseLitModule(LightningModule, ABC):
    """Trains, validates and tests a network; a subclass writes `step`.

    A subclass that has an `on_validation_epoch_end` or an `on_test_epoch_end` calls its parent's, which logs the epoch.

    Args:
        config: See the config's own fields.
        nnmodule: The network.
        optimizer: Takes the parameters.
        scheduler: Takes the optimiser; stepped once per optimiser step.

    Attributes:
        stage: Which of training, validation and testing `step` is called for.
        curr_train_step: Training steps taken, also across continuations.
        curr_val_epoch: Validation epochs completed, also across continuations.
        on_bad_loss: What to do when a loss is NaN or infinite; `train` sets it from the configuration.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuses a subclass whose `__init__` drops the base's arguments.

        Raises:
            ContractError: arguments are missing; the text has the line to write.
        """
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        parameters = inspect.signature(cls.__dict__["__init__"]).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        missing = [name for name in INIT_PARAMETERS if name not in parameters and not takes_any]
        if missing:
            raise ContractError(
                f"{cls.__module__}.{cls.__qualname__}.__init__() drops {', '.join(missing)}. Write:\n"
                f"    def __init__(self, config, nnmodule, optimizer, scheduler, ...):\n"
                f"        super().__init__(config, nnmodule, optimizer, scheduler)\n"
                "or no __init__ at all."
            )

    def __init__(
        self,
        config: BaseLitModuleConfig,
        nnmodule: nn.Module,
        optimizer: partial[Optimizer],
        scheduler: partial[LRScheduler],
    ) -> None:
        super().__init__()
        self.config = config
        self.nnmodule = nnmodule
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.stage: Stage = "train"
        self.curr_train_step = 0
        self.curr_val_epoch = 0
        self.on_bad_loss: OnBadLoss = "stop"
        self._num_bad_losses = 0
        self._is_first_batch = False
        self._epoch_sums: dict[str, tuple[Any, int]] = {}
        self._epoch_metrics: dict[str, Any] = {}
        self._samples: Mapping[str, Tensor] | None = None
        self._tables: dict[str, Any] = {}

    @abstractmethod
    def step(self, batch: Any, batch_idx: int) -> Tensor | Mapping[str, Any]:
        """Computes the loss of a batch; `self.stage` tells what for.

        Args:
            batch: What the data module serves.
            batch_idx: The batch's number in its epoch, from 0.

        Returns:
            The loss, or a mapping with the key `loss` whose other entries are logged: tensors and, outside training,
            torchmetrics that were updated. In training a metric's value of the batch is what to return.
        """

    def try_batch(self, batch: Any) -> None:
        """Takes a batch as the first training step would, to see whether everything fits.

        Args:
            batch: What the data module serves.
        """
        self.step(batch, 0)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        """Computes the loss of a training batch; None lets Lightning skip the step."""
        self.stage = "train"
        loss = self._run_step(batch, batch_idx)
        if self._trainer is not None and self.trainer.world_size > 1:
            loader: Any = self.trainer.train_dataloader
            loss = loss * sampler_of(loader).weight_of(batch_idx)
        if self._trainer is None or torch.isfinite(loss):
            self._num_bad_losses = 0
        else:
            self._num_bad_losses += 1
            refuse_bad_loss(self.trainer, loss.item(), batch_idx, self.on_bad_loss, self._num_bad_losses)
        self.curr_train_step += 1  # Not before: a step that is refused is taken again.
        return loss if self._num_bad_losses == 0 else None

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the loss and the metrics of a validation batch."""
        self.stage = "val"
        self._run_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Logs the loss and the metrics of a test batch."""
        self.stage = "test"
        self._run_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        """Builds the optimiser, and the scheduler, stepped once per optimiser step."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        is_split = not self.config.decay_vectors and weight_decay_of(self.optimizer) != 0
        optimizer = self.optimizer(decayed_and_not(parameters) if is_split else parameters)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips, unless a skipped step left no gradients: torch clips none by norm, but fails to by value."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        if any(parameter.grad is not None for parameter in parameters):
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_validation_epoch_end(self) -> None:
        """Logs the epoch's metrics, and counts it, unless it is Lightning's check before the first step."""
        self._log_epoch()
        if not self.trainer.sanity_checking:
            self.curr_val_epoch += 1

    def on_test_epoch_end(self) -> None:
        """Logs the epoch's metrics."""
        self._log_epoch()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the counters to a checkpoint."""
        checkpoint |= self.counters()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the counters from a checkpoint."""
        self.set_counters(checkpoint)

    def counters(self) -> dict[str, int]:
        """Returns what was counted so far."""
        return {
            "curr_train_step": self.curr_train_step,
            "curr_val_epoch": self.curr_val_epoch,
            "num_bad_losses": self._num_bad_losses,
        }

    def set_counters(self, counters: Mapping[str, Any]) -> None:
        """Counts on from what `counters` returned."""
        self.curr_train_step = counters["curr_train_step"]
        self.curr_val_epoch = counters["curr_val_epoch"]
        self._num_bad_losses = counters["num_bad_losses"]

    @property
    def is_logging_step(self) -> bool:
        """Whether what this step logs will be written: every step outside training, each n-th within it."""
        if self._trainer is None:
            return False
        if self.stage != "train":
            return True
        trainer: Any = self.trainer  # Lightning sets log_every_n_steps, and declares it nowhere.
        return bool((trainer.global_step + 1) % trainer.log_every_n_steps == 0)

    @property
    def wants_samples(self) -> bool:
        """Whether `step` should hand samples to `keep_samples`."""
        if self.config.wandb_num_samples == 0 or self._trainer is None or self.trainer.sanity_checking:
            return False
        if self.stage == "train":
            is_due = self.curr_train_step % self.config.wandb_train_log_interval == 0
        else:
            is_due = self.stage == "val" and self._is_first_batch
        return is_due and wandb_logger(self.trainer) is not None

    def keep_samples(self, **columns: Tensor) -> None:
        """Keeps the first samples of a batch for W&B.

        Args:
            **columns: One tensor per column of the table; its first axis counts samples.
        """
        count = self.config.wandb_num_samples
        self._samples = {name: column[:count].detach().cpu() for name, column in columns.items()}

    def view_sample(self, name: str, value: Tensor) -> Any:
        """Returns one cell of a table of samples as W&B should show it.

        Args:
            name: The column's name.
            value: The sample's value in that column.
        """
        return value.tolist()

    def save_plots(self, batch: Any, folder: Path) -> list[Path]:
        """Draws what the trained network makes of a batch.

        Args:
            batch: From the test set, or the validation set where there is none; on the network's device.
            folder: Where PNG files go.

        Returns:
            The files written.
        """
        return []

    def _run_step(self, batch: Any, batch_idx: int) -> Tensor:
        self._is_first_batch = batch_idx == 0
        try:
            output = self.step(batch, batch_idx)
            logged = dict(output) if isinstance(output, Mapping) else {"loss": output}
            if self.is_logging_step:
                self._log(logged, batch)
        except StopIteration as error:  # Lightning would take it for the end of the epoch.
            raise RuntimeError(
                f"{type(self).__name__}.step() raised StopIteration: it called next() once too often."
            ) from error
        if self._samples is not None:
            self._send_samples()
        loss: Tensor = logged["loss"]
        return loss

    def _log(self, logged: Mapping[str, Any], batch: Any) -> None:
        """Logs a training step, or adds an evaluation step to its epoch: a call of Lightning's is slow."""
        size = _batch_size(batch)
        if self.stage == "train":
            self.log_dict({f"train/{name}": value for name, value in logged.items()}, prog_bar=True, batch_size=size)
            return
        for name, value in logged.items():
            if isinstance(value, Metric):
                self._epoch_metrics[name] = value
            else:
                total, count = self._epoch_sums.get(name, (0.0, 0))
                self._epoch_sums[name] = (total + value.detach().double() * size, count + size)

    def _log_epoch(self) -> None:
        """Logs the metrics of an evaluation epoch: means over all samples of all ranks."""
        means = {name: mean_over_ranks(self.trainer, *sums) for name, sums in self._epoch_sums.items()}
        for name, value in (means | self._epoch_metrics).items():
            self.log(f"{self.stage}/{name}", value, prog_bar=True, batch_size=1)
        self._epoch_sums, self._epoch_metrics = {}, {}

    def _send_samples(self) -> None:
        """Sends the kept samples to W&B."""
        logger, samples = wandb_logger(self.trainer), self._samples
        assert logger is not None
        assert samples is not None
        self._samples = None
        logger.attempt(lambda: self._send_table(logger, samples))

    def _send_table(self, logger: BestEffortWandbLogger, samples: Mapping[str, Tensor]) -> None:
        """Adds samples to the stage's table of samples, and sends what is new."""
        import wandb

        name = f"{self.stage}/samples"
        columns: list[str | int] = ["step", *samples]
        if name not in self._tables:
            self._tables[name] = wandb.Table(columns=columns, log_mode="INCREMENTAL")
        for row in zip(*samples.values(), strict=True):
            cells = [self.view_sample(column, value) for column, value in zip(samples, row, strict=True)]
            self._tables[name].add_data(self.curr_train_step, *cells)
        logger.log_row({name: self._tables[name], "trainer/global_step": self.trainer.global_step})


def _batch_size(batch: Any) -> int:
    """Returns the number of samples in a batch: the length of its first tensor."""
    sizes: list[int] = []
    apply_to_collection(batch, Tensor, lambda tensor: sizes.append(len(tensor)))
    return sizes[0]


def refuse_bad_loss(trainer: Trainer, loss: float, batch_idx: int, policy: OnBadLoss, num_in_row: int) -> None:
    """Warns of a bad loss, or ends the run.

    Args:
        trainer: The run's trainer.
        loss: NaN or infinite.
        batch_idx: The batch's number in its epoch.
        policy: What the configuration wants.
        num_in_row: How many bad losses came one after the other, this one included.

    Raises:
        RunError: the policy is `stop`, the run has several ranks (which cannot skip a step on one of them), or too many
            losses in a row were bad.
    """
    text = _describe(trainer, loss, batch_idx)
    if policy == "stop" or trainer.world_size > 1:
        raise RunError(
            f"{text} The state before this step is saved. Lower the learning rate, look at these samples, or give "
            "config.on_bad_loss=skip to leave such steps out."
        )
    if num_in_row > MAX_SKIPPED_STEPS:
        raise RunError(f"{text} More than {MAX_SKIPPED_STEPS} steps in a row were skipped for that.")
    log.warning("%s The step is skipped (%d in a row).", text, num_in_row)


def _describe(trainer: Trainer, loss: float, batch_idx: int) -> str:
    sampler = own_sampler(trainer.train_dataloader)
    indices = [] if sampler is None else sampler.indices_of(batch_idx)
    shown = ", ".join(map(str, indices[:NUM_SHOWN_INDICES])) + (", …" if len(indices) > NUM_SHOWN_INDICES else "")
    samples = f", samples {shown}" if indices else ""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    rates = ", ".join(dict.fromkeys(f"{group['lr']:.6g}" for group in groups))
    return (
        f"The loss is {loss} at step {trainer.global_step} (epoch {trainer.current_epoch}, batch {batch_idx}"
        f"{samples}; learning rate {rates})."
    )
