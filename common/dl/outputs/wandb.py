"""The configured logger, online where W&B can be reached."""

from functools import partial
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import DummyLogger

from common.dl.outputs.wandb_logger import SteadyWandbLogger
from common.foreign.pytorch_lightning import without_withdrawn_argument
from common.run.ranks import this_rank
from common.run.wandb import config_of, run_id, wandb_settings
from common.utils.wandb import Mode, start_where_reachable


def instantiate_logger(logger: partial[Logger], folder: Path) -> Logger:
    """Builds the logger; W&B falls back to offline without a key or a network, and to nothing where it cannot start.

    Args:
        logger: The configured partial.
        folder: The run's folder.
    """
    if not this_rank().is_first:
        return DummyLogger()
    if logger.func is not SteadyWandbLogger:
        return logger()
    return start_where_reachable(folder, lambda mode: _start(logger, folder, mode)) or DummyLogger()


def _start(logger: partial[Logger], folder: Path, mode: Mode) -> SteadyWandbLogger:
    """Starts a W&B run with the whole configuration."""
    settings = wandb_settings(folder)
    name = logger.keywords["name"] or folder.name
    live: Any = logger(name=name, id=run_id(folder), mode=mode, settings=settings)
    without_withdrawn_argument(live)
    live.experiment.config.update(config_of(folder))
    live.pieces = Path(live.experiment.settings.sync_dir)
    return live  # type: ignore[no-any-return]
