"""W&B: online where it can be reached, offline otherwise; its failures never stop a run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.loggers.logger import DummyLogger

from common.foreign.pytorch_lightning import without_withdrawn_argument
from common.run.ranks import this_rank
from common.run.upload import Uploads
from common.run.wandb import BestEffort, Mode, config_of, run_id, start_where_reachable, wandb_settings


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


def wandb_logger(trainer: Trainer) -> "BestEffortWandbLogger | None":
    """Returns the W&B logger of a trainer, on the one rank that logs."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, BestEffortWandbLogger)]
    return loggers[0] if loggers and trainer.is_global_zero else None


class BestEffortWandbLogger(BestEffort, WandbLogger):
    """Lightning's W&B logger, but a failure is reported once, and then W&B is left alone."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Sends what a Lightning module calls its hyperparameters."""
        self.attempt(lambda: super(BestEffortWandbLogger, self).log_hyperparams(params, *args, **kwargs))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Sends scalars."""
        self.attempt(lambda: super(BestEffortWandbLogger, self).log_metrics(dict(metrics), step))

    def log_row(self, row: Mapping[str, Any], step: int | None = None) -> None:
        """Sends anything that W&B can show, such as tables.

        Args:
            row: What to send.
            step: W&B's own count of rows; None counts on.
        """
        self.attempt(lambda: self.experiment.log(dict(row), step=step))

    def num_rows(self) -> int | None:
        """Returns W&B's own count of rows, or None where W&B has failed."""
        counted: list[int] = []
        self.attempt(lambda: counted.append(int(self.experiment.step)))
        return counted[0] if counted else None

    def finish(self) -> None:
        """Ends the run."""
        self.attempt(lambda: self.experiment.finish())

    def finalize(self, status: str) -> None:
        """Lightning's hook at the end of each of its phases."""
        self.attempt(lambda: super(BestEffortWandbLogger, self).finalize(status))


def instantiate_logger(logger: partial[Logger], folder: Path) -> Logger:
    """Builds the logger; W&B falls back to offline without a key or a network, and to nothing where it cannot start.

    Args:
        logger: The configured partial.
        folder: The run's folder.
    """
    if not this_rank().is_first:
        return DummyLogger()
    if logger.func is not BestEffortWandbLogger:
        return logger()
    return start_where_reachable(folder, lambda mode: _start(logger, folder, mode)) or DummyLogger()


def _start(logger: partial[Logger], folder: Path, mode: Mode) -> BestEffortWandbLogger:
    """Starts a W&B run with the whole configuration."""
    settings = wandb_settings(folder)
    name = logger.keywords["name"] or folder.name
    live: Any = logger(name=name, id=run_id(folder), mode=mode, settings=settings)
    without_withdrawn_argument(live)
    live.experiment.config.update(config_of(folder))
    live.pieces = Path(live.experiment.settings.sync_dir)
    return live  # type: ignore[no-any-return]
