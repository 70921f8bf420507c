"""Saves a run so that it continues to the same result, bit for bit, wherever it was cut off.

A checkpoint is taken between two steps: after everything that a step does, its log entries included, and before the
next one begins. Lightning has no hook there, so it is taken in the hook that opens the next step or epoch, and the
loops' counters are put down as Lightning itself would have them after the step or epoch before.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Timer

from common.config import CONTINUE
from common.dl.checkpointing.loops import after_epoch, after_step
from common.dl.checkpointing.metric_states import StepUndo, get_metric_states, set_metric_states
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.outputs.wandb_logger import wandb_logger
from common.dl.random_states import as_plain_values, get_random_states, set_random_states
from common.dl.ranks import any_rank
from common.errors import RunStoppedError
from common.run import stop
from common.run.checkpoint import BEST, FOLDER_NAME, LAST, link
from common.run.metrics import MetricsFile
from common.run.ranks import this_rank

log = logging.getLogger(__name__)

KEY = "continuation"
"""Where a checkpoint holds what Lightning's own does not."""

MONITOR = "val/loss"


class Checkpointer(Callback):
    """Saves every epoch, every few minutes, on a stop and on an error; keeps the last two checkpoints and the best.

    Args:
        config: The subtask's settings.
        metrics_file: Cut back, when continuing, to what it held when the checkpoint was taken.
        is_continuation: Whether the checkpoint that is loaded, if any, is this run's own.
    """

    def __init__(self, config: DeepLearningSubtaskConfig, metrics_file: MetricsFile, *, is_continuation: bool) -> None:
        self.folder = Path(config.output_dir) / FOLDER_NAME
        self.interval_s = 60 * config.save_every_n_minutes
        self.metrics_file = metrics_file
        self.is_continuation = is_continuation
        self.advice = (
            "The same command continues."
            if config.ckpt_path == CONTINUE
            else "The same command without config.ckpt_path continues."
        )
        self.best_loss = float("inf")
        self.is_new_best = False
        self.is_due = False
        self.is_stopping = False
        self.has_stepped = False
        self.has_failed_to_write = False
        self.saved_at_s = time.monotonic()
        self.boundary: dict[str, Any] = {}
        self.to_restore: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores what must not be touched between loading and the first step."""
        if self.to_restore is not None:
            own = self.to_restore["ranks"][trainer.global_rank]
            set_random_states(own["random_states"])
            set_metric_states(pl_module, own["metric_states"])
            _forward_wandb(trainer, self.to_restore["wandb_step"])
            trainer.should_stop |= self.to_restore["has_stopped_early"]
            self.to_restore = None
        self.saved_at_s = time.monotonic()
        self.step_undo = StepUndo(pl_module)
        self._mark_boundary()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the epoch before."""
        if self.has_stepped:  # Otherwise this epoch is the first, or has just been loaded.
            self._mark_boundary()
            self._save(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves the step before, if it is time."""
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        self._note_boundary(trainer)
        self.step_undo.take()
        if self.is_due:
            self._save(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Takes down the random states, and lets all ranks agree on whether to save before the next step."""
        self.has_stepped = True
        is_late = time.monotonic() - self.saved_at_s > self.interval_s
        late, stopping = any_rank(trainer, is_late, stop.is_stop_requested())
        self.is_stopping |= stopping
        self.is_due |= late or stopping
        self.boundary["random_states"] = get_random_states()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notices a new best network."""
        loss = trainer.callback_metrics.get(MONITOR)
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self.boundary["random_states"] = get_random_states()  # Of a validation within an epoch.
        if loss is not None and loss < self.best_loss:
            self.best_loss = float(loss)
            self.is_new_best = self.is_due = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the last epoch."""
        self._mark_boundary()
        self._save(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leaves the validation that follows training, where there is nothing left to save."""
        if trainer.state.fn != "fit":
            self._leave_if_asked(trainer)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leaves the test, where there is nothing left to save."""
        self._leave_if_asked(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves the state before the step that failed; on several ranks the others may not be able to help."""
        is_savable = isinstance(exception, Exception) and not isinstance(exception, RunStoppedError)
        if not is_savable or not trainer.training or trainer.world_size > 1 or self.has_failed_to_write:
            return
        if self._has_failed_before_step(trainer):
            self._note_boundary(trainer)
        elif self._has_failed_within_step(trainer):
            self.step_undo.put_back()
        else:
            return
        self._write(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Returns what the choice of the best depends on."""
        return {"best_loss": self.best_loss, "is_new_best": self.is_new_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores what the choice of the best depends on."""
        if self.is_continuation:
            self.best_loss = state_dict["best_loss"]
            if state_dict["is_new_best"]:  # The run may have been cut off before it gave the file its second name.
                link(self.folder / LAST, self.folder / BEST)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what Lightning's checkpoint lacks, and puts the loops' counters at the boundary."""
        fit_loop = checkpoint["loops"]["fit_loop"]
        position = (after_step if is_mid_epoch(trainer) else after_epoch)(fit_loop)
        trainer.datamodule.position = position  # type: ignore[attr-defined]  # Lightning declares no datamodule.
        wandb = wandb_logger(trainer)
        checkpoint[KEY] = {
            "position": position,
            "ranks": this_rank().gather(
                {
                    "random_states": as_plain_values(self.boundary["random_states"]),
                    "metric_states": get_metric_states(pl_module),
                },
            ),
            "metrics_file": self.boundary["metrics_file"],
            "num_threads": torch.get_num_threads(),
            "has_stopped_early": has_stopped_early(trainer),
            "wandb_step": None if wandb is None else wandb.num_rows(),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restores what must be there before the data is; the rest waits for the first step."""
        state: Mapping[str, Any] = checkpoint[KEY]
        torch.set_num_threads(state["num_threads"])
        trainer.datamodule.position = state["position"]  # type: ignore[attr-defined]
        self.to_restore = dict(state)
        if self.is_continuation and trainer.is_global_zero:
            self.metrics_file.load_state_dict(state["metrics_file"])

    def _mark_boundary(self) -> None:
        self.boundary = {"random_states": get_random_states(), "metrics_file": self.metrics_file.state_dict()}

    def _note_boundary(self, trainer: Trainer) -> None:
        self.boundary |= {"metrics_file": self.metrics_file.state_dict(), "global_step": trainer.global_step}

    def _has_failed_before_step(self, trainer: Trainer) -> bool:
        """Returns whether the step before is complete and the next batch could not be had."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        is_boundary = batches.completed % trainer.accumulate_grad_batches == 0
        return is_mid_epoch(trainer) and batches.ready == batches.completed and is_boundary

    def _has_failed_within_step(self, trainer: Trainer) -> bool:
        """Returns whether a step has begun, and has changed nothing that cannot be put back."""
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress  # Typed as its base, which counts less.
        batches = progress.current
        is_boundary = batches.completed % trainer.accumulate_grad_batches == 0
        is_untaken = batches.processed == batches.completed and trainer.global_step == self.boundary.get("global_step")
        return bool(batches.ready > batches.completed > 0) and is_boundary and is_untaken

    def _save(self, trainer: Trainer) -> None:
        """Saves at a boundary, and leaves there if any rank was asked to."""
        self._write(trainer)
        if self.is_stopping:
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} after step {trainer.global_step}, saved. {self.advice}"
            )

    def _write(self, trainer: Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self.has_failed_to_write = True
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self.has_failed_to_write = False
        if self.is_new_best and trainer.is_global_zero:
            link(self.folder / LAST, self.folder / BEST)
        self.is_new_best = self.is_due = False
        self.saved_at_s = time.monotonic()

    def _leave_if_asked(self, trainer: Trainer) -> None:
        (stopping,) = any_rank(trainer, stop.is_stop_requested())
        if stopping:
            raise RunStoppedError(f"Stopped by {stop.name_of_stop()} after training. {self.advice}")


def is_mid_epoch(trainer: Trainer) -> bool:
    """Returns whether the boundary lies within an epoch, and not between two."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current
    return bool(0 < batches.completed < trainer.num_training_batches)


def has_stopped_early(trainer: Trainer) -> bool:
    """Returns whether a callback has ended the training, as a larger budget would not have prevented."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
    is_out_of_time = any((timer.time_remaining() or 1) <= 0 for timer in timers)
    return bool(trainer.should_stop) and not is_out_of_time


def _forward_wandb(trainer: Trainer, step: int | None) -> None:
    """Lets W&B count on from where it was, so that no row of the run's history is written twice."""
    logger = wandb_logger(trainer)
    reached = None if logger is None else logger.num_rows()
    if logger is not None and reached is not None and step is not None and reached < step:
        logger.log_row({"trainer/global_step": trainer.global_step}, step=step)
