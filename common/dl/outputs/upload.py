"""Asks for uploads after each validation, where a run cannot upload by itself."""

from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from common.run.upload import Uploads


class UploadRequests(Callback):
    """Asks `wandb-osh` to upload what a run has logged so far.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.uploads = Uploads(folder)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Asks after a validation, on the one rank that logs."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            self.uploads.request()
