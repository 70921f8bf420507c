"""The configured logger, online where W&B can be reached."""

import logging
import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.loggers.logger import DummyLogger

from common.dl.utils.ranks import is_first_rank
from common.run.choice import read_record
from common.utils.wandb import login_wandb, sync_command
from common.utils.wandb_logger import SteadyWandbLogger

log = logging.getLogger(__name__)

INIT_TIMEOUT_S = 8
"""How long a W&B server may take to answer before the run goes on offline."""


def instantiate_logger(logger: partial[Logger], folder: Path) -> Logger:
    """Builds the logger; W&B falls back to offline without a key or a network.

    Args:
        logger: The configured partial.
        folder: The run's folder.
    """
    if not is_first_rank():
        return DummyLogger()
    if logger.func is not SteadyWandbLogger:
        return logger()
    is_off = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    has_key = login_wandb()
    reason = "WANDB_MODE says so" if is_off else "there is no key" if not has_key else None
    if reason is None:
        live = _start(logger, folder, "online")
        if live is not None:
            return live
        reason = f"the server did not answer within {INIT_TIMEOUT_S} s"
    log.info("W&B logs offline: %s. Upload later with: %s", reason, sync_command(folder))
    live = _start(logger, folder, "offline")
    assert live is not None
    return live


def _start(logger: partial[Logger], folder: Path, mode: Literal["online", "offline"]) -> SteadyWandbLogger | None:
    """Starts a W&B run with the whole configuration, or returns None where the server does not answer."""
    import wandb

    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # Pictures of offline runs wait here, not in the user's home.
    settings = wandb.Settings(init_timeout=INIT_TIMEOUT_S, silent=True)
    name = logger.keywords["name"] or folder.name
    live: Any = logger(name=name, id=run_id(folder), mode=mode, settings=settings)
    live._wandb_init.pop("anonymous", None)  # Lightning passes on an argument that W&B has withdrawn, and warns of.
    try:
        live.experiment.config.update(_config_of(folder))
    except wandb.Error:
        if mode == "offline":
            raise
        wandb.teardown()  # W&B's service would refuse the id of the run that it could not start.
        return None
    return live  # type: ignore[no-any-return]


def run_id(folder: Path) -> str:
    """Returns the W&B id of a run: it follows from the provenance, so that every launch logs to one run."""
    record = read_record(folder)
    return f"{record['identity']}-{record['created_ns']:x}"


def _config_of(folder: Path) -> Any:
    # libyaml's loader: the pure Python one needs a fifth of a second here.
    config = OmegaConf.create(yaml.load((folder / ".hydra" / "config.yaml").read_text(), yaml.CSafeLoader))
    return OmegaConf.to_container(config, resolve=True)
