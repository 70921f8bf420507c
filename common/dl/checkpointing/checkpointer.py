"""Saves a run so that it continues to the same result, bit for bit, wherever it was cut off.

A checkpoint reaches the disk through the atomic writer. It is taken after a batch: after everything that belongs to it,
a validation within the epoch included, and before the next one is fetched. Lightning has no hook there;
`common.foreign.pytorch_lightning` adds it. What ends an epoch is not in a checkpoint: it is done again by a run that
continues after an epoch's last batch.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar, Timer

from common.dl.checkpointing.module_states import StepUndo, get_module_states, set_module_states
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.continuable import reason_against
from common.dl.engine import DEEP_LEARNING, MONITOR
from common.dl.generators import generators_in, get_state, set_state
from common.dl.outputs.wandb import wandb_logger
from common.dl.random_states import as_plain_values, get_random_states, set_random_states
from common.dl.ranks import any_rank
from common.errors import ConfigError, RunStoppedError
from common.foreign.pytorch_lightning import (
    get_logged,
    is_accumulating,
    is_last_batch,
    num_used_batches,
    rewind,
    set_logged,
)
from common.run import stop
from common.run.checkpoint import BEST, BEST_SO_FAR, LAST, link, read_checkpoint, write_checkpoint
from common.run.metrics import MetricsFile
from common.run.ranks import this_rank

log = logging.getLogger(__name__)


class AtomicCheckpointIO(CheckpointIO):
    """Writes each checkpoint whole or not at all, and reads none that could run code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint to the CPU; Lightning moves its tensors."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)


KEY = "continuation"
"""Where a checkpoint holds what Lightning's own does not."""


class Checkpointer(Callback):
    """Saves every epoch, every few minutes, on a stop and on an error; keeps the last two checkpoints and the best.

    Args:
        config: The subtask's settings.
        metrics_file: Cut back, when continuing, to what it held when the checkpoint was taken.
        is_continuation: Whether the checkpoint that is loaded, if any, is this run's own.

    Attributes:
        boundary: What a checkpoint after the last batch holds of what changes before the next hook.
        is_saved: Whether there is nothing after the last checkpoint that could be saved.
    """

    def __init__(self, config: DeepLearningSubtaskConfig, metrics_file: MetricsFile, *, is_continuation: bool) -> None:
        self.folder = Path(config.output_dir) / DEEP_LEARNING.checkpoints
        self.interval_s = 60 * config.save_every_n_minutes
        self.metrics_file = metrics_file
        self.is_continuation = is_continuation
        self.advice = (
            "The same command continues."
            if config.ckpt_path is not None
            else "The same command without config.ckpt_path continues."
        )
        self.best_loss = float("inf")
        self.is_new_best = False
        self.is_saved = True
        self.saved_at_s = time.monotonic()
        self.boundary: dict[str, Any] = {}
        self.generators: list[Any] = []
        self.to_restore: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuses callbacks that Python code has added, such as a module's `configure_callbacks`.

        Raises:
            ConfigError: the run could not be continued to the same result.
        """
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            reason = None if isinstance(callback, ProgressBar) else reason_against(type(callback))
            if reason is not None:
                raise ConfigError(f"{type(callback).__name__} is refused: {reason}.")

    def before_first_batch(self, trainer: Trainer) -> None:
        """Restores what must not be touched between loading and the first batch."""
        module = trainer.lightning_module
        self.generators = generators_in(module, trainer.datamodule)  # type: ignore[attr-defined]
        if self.to_restore is not None:
            _check_budget(trainer)
            own = self.to_restore["ranks"][trainer.global_rank]
            set_module_states(module, own["module_states"])
            set_logged(trainer, own["logged"])
            set_random_states(own["random_states"])
            for generator, state in zip(self.generators, own["generators"], strict=True):
                set_state(generator, state)
            trainer.accumulate_grad_batches = self.to_restore["accumulate_grad_batches"]
            trainer.should_stop |= self.to_restore["has_stopped_early"]
            _forward_wandb(trainer, self.to_restore["wandb_step"])
            self.to_restore = None
        self.saved_at_s = time.monotonic()
        self.step_undo = StepUndo(module)

    def after_batch(self, trainer: Trainer) -> None:
        """Notes where a run could continue; saves if it is time, and leaves if any rank was asked to."""
        self.boundary = {
            "random_states": get_random_states(),
            "generators": [get_state(generator) for generator in self.generators],
            "logged": get_logged(trainer),
            "metrics_file": self.metrics_file.state_dict(),
            "is_last_batch": is_last_batch(trainer),
            "progress": _progress(trainer),
        }
        self.step_undo.take(is_accumulating=is_accumulating(trainer))
        self.is_saved = False
        is_late = time.monotonic() - self.saved_at_s > self.interval_s
        is_due = is_late or self.is_new_best or trainer.fit_loop.epoch_loop.done
        due, stopping = any_rank(trainer, is_due, stop.is_stop_requested())
        if due or stopping:
            self._write(trainer)
        if stopping:
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} after step {trainer.global_step}, saved. {self.advice}"
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notices a new best network, which is saved before any other batch can change it."""
        loss = trainer.callback_metrics.get(MONITOR)
        if trainer.state.fn == "fit" and not trainer.sanity_checking and loss is not None and loss < self.best_loss:
            self.best_loss = float(loss)
            self.is_new_best = True

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leaves the validation that follows training, where there is nothing left to save."""
        if trainer.state.fn != "fit":
            self._leave_if_asked(trainer)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leaves the test, where there is nothing left to save."""
        self._leave_if_asked(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves the state before the batch that failed; on several ranks the others may not be able to help."""
        is_savable = isinstance(exception, Exception) and not isinstance(exception, RunStoppedError)
        if not is_savable or self.is_saved or trainer.world_size > 1:
            return
        if _progress(trainer) == self.boundary["progress"] and self.step_undo.is_possible:
            self.step_undo.put_back()
            self._write(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what Lightning's checkpoint lacks, and puts the loops' counters at the boundary."""
        rewind(checkpoint["loops"]["fit_loop"], is_last_batch=self.boundary["is_last_batch"])
        wandb = wandb_logger(trainer)
        checkpoint[BEST_SO_FAR] = {"loss": self.best_loss, "is_own": self.is_new_best}
        checkpoint[KEY] = {
            "position": _position(trainer, is_last_batch=self.boundary["is_last_batch"]),
            "ranks": this_rank().gather(
                {
                    "random_states": as_plain_values(self.boundary["random_states"]),
                    "generators": self.boundary["generators"],
                    "logged": self.boundary["logged"],
                    "module_states": get_module_states(pl_module, with_gradients=is_accumulating(trainer)),
                },
            ),
            "metrics_file": self.boundary["metrics_file"],
            "num_threads": torch.get_num_threads(),
            "accumulate_grad_batches": trainer.accumulate_grad_batches,
            "has_stopped_early": has_stopped_early(trainer),
            "wandb_step": None if wandb is None else wandb.num_rows(),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restores what must be there before the data is; the rest waits for the first step."""
        state: Mapping[str, Any] = checkpoint[KEY]
        torch.set_num_threads(state["num_threads"])
        trainer.datamodule.position = state["position"]  # type: ignore[attr-defined]
        self.to_restore = dict(state)
        if self.is_continuation:
            self.best_loss = checkpoint[BEST_SO_FAR]["loss"]
        if self.is_continuation and trainer.is_global_zero:
            self.metrics_file.load_state_dict(state["metrics_file"])

    def _write(self, trainer: Trainer) -> None:
        self.is_saved = True  # Also where it fails: then it will not be tried again.
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        if self.is_new_best and trainer.is_global_zero:
            link(self.folder / LAST, self.folder / BEST)
        self.is_new_best = False
        self.saved_at_s = time.monotonic()

    def _leave_if_asked(self, trainer: Trainer) -> None:
        (stopping,) = any_rank(trainer, stop.is_stop_requested())
        if stopping:
            raise RunStoppedError(f"Stopped by {stop.name_of_stop()} after training. {self.advice}")


def _progress(trainer: Trainer) -> tuple[int, int]:
    """Returns how many batches were used up, and how many steps were taken."""
    return num_used_batches(trainer), trainer.global_step


def _position(trainer: Trainer, *, is_last_batch: bool) -> dict[str, int]:
    """Returns the epoch, and the batch in it, with which a run goes on, both from 0; batch 0 where none is left."""
    num_batches: int = trainer.fit_loop.epoch_loop.batch_progress.current.completed
    return {"epoch": trainer.current_epoch, "batch": 0 if is_last_batch else num_batches}


def _check_budget(trainer: Trainer) -> None:
    """Refuses to call a network one of fewer epochs or steps than it was trained for.

    Raises:
        ConfigError: the checkpoint is ahead of the configuration.
    """
    reached = {"max_epochs": trainer.current_epoch + 1, "max_steps": trainer.global_step}
    for key, number in reached.items():
        limit = getattr(trainer, key)
        if limit not in (None, -1) and number > limit:
            raise ConfigError(
                f"trainer.{key}={limit} is less than the checkpoint has behind it, {number}. Give a larger one, or "
                "another checkpoint."
            )


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
        logger.log_row({}, step=step)  # Nothing: this launch may be killed before the row itself is written.
