"""The Lightning logger behind which `metrics.csv` is written, and the one that writes nothing besides."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.utilities.apply_func import convert_tensors_to_scalars
from pytorch_lightning.loggers.logger import DummyLogger, Logger, rank_zero_experiment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from common.run.metrics import MetricsFile


class MetricsFileLogger(Logger):
    """Writes every logged scalar to `metrics.csv`.

    Lightning's own `CSVLogger` empties the file when a second process opens it.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = MetricsFile(folder)

    @property
    def name(self) -> str | None:
        """No name: the file has a fixed place."""
        return None

    @property
    def version(self) -> str | None:
        """No version: the file has a fixed place."""
        return None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Returns the file; on other ranks Lightning gives a stand-in that does nothing."""
        return self.file

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Appends a row.

        Args:
            metrics: Numbers, some in tensors: `LearningRateMonitor` passes rates as the optimiser has them.
            step: Optimiser steps so far.
        """
        self.file.append(convert_tensors_to_scalars(dict(metrics)), step)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the configuration lies in `.hydra/`."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the file."""
        self.file.close()


class NoLogger(DummyLogger):
    """Logs nowhere beside `metrics.csv`.

    Args:
        **settings: Those of the logger that it stands for, which have no effect.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
