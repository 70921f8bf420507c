"""The W&B logger: a replica of the local files, whose failures never stop a run."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.loggers import WandbLogger

from common.utils.wandb import Steady


def wandb_logger(trainer: Trainer) -> "SteadyWandbLogger | None":
    """Returns the W&B logger of a trainer, on the one rank that logs."""
    loggers = [logger for logger in trainer.loggers if isinstance(logger, SteadyWandbLogger)]
    return loggers[0] if loggers and trainer.is_global_zero else None


class SteadyWandbLogger(Steady, WandbLogger):
    """Lightning's W&B logger, but a failure is reported once, and then W&B is left alone."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Sends what a Lightning module calls its hyperparameters."""
        self.attempt(lambda: super(SteadyWandbLogger, self).log_hyperparams(params, *args, **kwargs))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends scalars."""
        self.attempt(lambda: super(SteadyWandbLogger, self).log_metrics(dict(metrics), step))

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
        self.attempt(lambda: super(SteadyWandbLogger, self).finalize(status))
