"""The progress bar: rate and time left, redrawn often enough for a person and seldom enough for a fast loop."""

import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

REFRESH_EVERY_S = 0.25


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, redrawn by the clock, and without the version number that means nothing here."""

    def __init__(self) -> None:
        super().__init__()
        self._redrawn_s = 0.0

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Returns what the bar shows at its end."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def _should_update(self, current: int, total: float) -> bool:
        """Decides whether to redraw; Lightning's own bar counts steps, which may take a millisecond or a minute."""
        now = time.monotonic()
        is_due: bool = self.is_enabled and (now - self._redrawn_s >= REFRESH_EVERY_S or current == total)
        if is_due:
            self._redrawn_s = now
        return is_due
