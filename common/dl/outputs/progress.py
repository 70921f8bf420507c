"""What the terminal shows of a training: a bar; where the output is no terminal, a line for each epoch.

The bar is redrawn often enough for a person and seldom enough for a fast loop.
"""

import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar as LightningProgressBar
from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm, convert_inf

from common.utils.terminal import is_terminal, screen_size
from common.utils.text import duration_text, number_text

REFRESH_EVERY_S = 0.25

METER_COLUMNS = 50
"""What the bar needs besides its metrics."""


def progress_display() -> LightningProgressBar:
    """Returns what shows the progress on this process's standard output."""
    return ProgressBar() if is_terminal() else EpochLines()


class Bar(Tqdm):
    """A bar as wide as the terminal, with as many metrics as can be read to their end."""

    def __init__(self, **settings: Any) -> None:
        columns, rows = screen_size(settings["file"])  # tqdm shows nothing where a terminal tells no size.
        super().__init__(ncols=columns, nrows=rows, **settings)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What is drawn, in a terminal that may have changed its size."""
        columns, _ = screen_size(self.fp)
        facts: dict[str, Any] = {**super().format_dict, "ncols": columns}
        metrics = (facts.get("postfix") or "").split(", ")
        while metrics and len(", ".join(metrics)) > columns - METER_COLUMNS:
            metrics.pop()
        return facts | {"postfix": ", ".join(metrics) or None}


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
        total = convert_inf(self.total_train_batches)
        return self._bar(f"Epoch {self.trainer.current_epoch}", total=total, initial=self._num_done, smoothing=0)

    def init_sanity_tqdm(self) -> Tqdm:
        """Opens the bar of the validation that some ask for before the first step."""
        return self._bar(self.sanity_check_description, leave=False)

    def init_validation_tqdm(self) -> Tqdm:
        """Opens the bar of a validation, below the one of the training where there is one."""
        is_within_training = self.trainer.state.fn != "validate"
        return self._bar(self.validation_description, position=int(is_within_training), leave=not is_within_training)

    def init_test_tqdm(self) -> Tqdm:
        """Opens the bar of the test."""
        return self._bar(self.test_description)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Begins anew, at no batch. Lightning's own redraws before it has the epoch and the total."""
        bar = self.train_progress_bar
        bar.initial, bar.total = 0, convert_inf(self.total_train_batches)
        bar.set_description(f"Epoch {trainer.current_epoch}", refresh=False)
        bar.reset()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves the bars as they are: an open one would keep its line from those of a sweep's next point."""
        for bar in (self._val_progress_bar, self._test_progress_bar, self._train_progress_bar):
            if bar is not None:
                bar.close()

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Returns what the bar shows at its end."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    @property
    def _num_done(self) -> int:
        """Batches that lie behind in the epoch that runs; none where the next one has not begun."""
        loop: Any = self.trainer.fit_loop  # Its counters are typed as their base, which counts less.
        epochs, batches = loop.epoch_progress.current, loop.epoch_loop.batch_progress.current
        return int(batches.processed) if epochs.started > epochs.processed else 0

    def _bar(self, description: str, **settings: Any) -> Bar:
        file, bar_format = sys.stdout, self.BAR_FORMAT
        return Bar(desc=description, disable=self.is_disabled, file=file, bar_format=bar_format, **settings)

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


class EpochLines(LightningProgressBar):
    """A line for each epoch, for a file or a pipe, where nothing can be drawn over."""

    def __init__(self) -> None:
        super().__init__()
        self._is_enabled = True
        self._began_s = time.monotonic()

    def disable(self) -> None:
        """Falls silent, as all ranks but the first do."""
        self._is_enabled = False

    def enable(self) -> None:
        """Speaks again."""
        self._is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes when the first epoch of this launch began."""
        self._began_s = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prints what the bar would show at the epoch's end."""
        now = time.monotonic()
        took, self._began_s = duration_text(now - self._began_s), now
        metrics = [f"{name} {number_text(value)}" for name, value in trainer.progress_bar_metrics.items()]
        if self._is_enabled:
            print(f"Epoch {trainer.current_epoch}: {', '.join([took, *metrics])}", flush=True)
