"""The progress bar: rate and time left, redrawn often enough for a person and seldom enough for a fast loop."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

REFRESH_EVERY_N_STEPS = 20


class ProgressBar(TQDMProgressBar):
    """Lightning's bar with fewer refreshes, and without the version number that means nothing here."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESH_EVERY_N_STEPS)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Returns what the bar shows at its end."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics
