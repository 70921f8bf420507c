"""The progress bar: rate and time left, redrawn often enough for a person and seldom enough for a fast loop."""

import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm, convert_inf

REFRESH_EVERY_S = 0.25


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, redrawn by the clock, right in an epoch that is continued, without the version number."""

    def __init__(self) -> None:
        super().__init__()
        self._redrawn_s = 0.0

    @property
    def total_train_batches(self) -> int | float:
        """The number of batches with which the epoch ends; Lightning's own counts from where a launch began."""
        trainer = self.trainer
        if trainer.max_steps == -1:
            return trainer.num_training_batches
        steps_left = trainer.max_steps - trainer.global_step
        boundary = self._num_done - self._num_done % trainer.accumulate_grad_batches
        return min(trainer.num_training_batches, boundary + steps_left * trainer.accumulate_grad_batches)

    def init_train_tqdm(self) -> Tqdm:
        """Opens the bar in the epoch, and at the batch, with which training goes on."""
        return Tqdm(
            desc=f"Epoch {self.trainer.current_epoch}",
            total=convert_inf(self.total_train_batches),
            initial=self._num_done,
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Begins anew, at no batch. Lightning's own redraws before it has the epoch and the total."""
        bar = self.train_progress_bar
        bar.initial, bar.total = 0, convert_inf(self.total_train_batches)
        bar.set_description(f"Epoch {trainer.current_epoch}", refresh=False)
        bar.reset()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Returns what the bar shows at its end."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    @property
    def _num_done(self) -> int:
        """Batches of the epoch that lie behind: none, unless it was begun by an earlier launch or goes on."""
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress  # Typed as its base, which counts less.
        num_processed: int = progress.current.processed
        is_over = progress.is_last_batch or num_processed >= self.trainer.num_training_batches
        return 0 if is_over else num_processed

    def _should_update(self, current: int, total: float | None) -> bool:
        """Decides whether to redraw; Lightning's own bar counts steps, which may take a millisecond or a minute.

        Args:
            current: The number of batches done.
            total: The number of all; None where it is unknown.
        """
        now = time.monotonic()
        is_due: bool = self.is_enabled and (now - self._redrawn_s >= REFRESH_EVERY_S or current == total)
        if is_due:
            self._redrawn_s = now
        return is_due
