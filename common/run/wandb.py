"""What W&B is told of a run, whichever engine it uses: which run it is, its configuration, and where files wait."""

import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from common.run.record import read_record
from common.utils.wandb import INIT_TIMEOUT_S

FLUSH_INTERVAL_S = 0.1
"""How long W&B may keep rows in memory; in its own 15 s, all that a run logged since is lost if the run is killed."""


def run_id(folder: Path) -> str:
    """Returns the W&B id of a run, which is on record, so that every launch logs to one W&B run."""
    return read_record(folder).wandb_id


def config_of(folder: Path) -> Any:
    """Returns a run's configuration as plain containers."""
    # libyaml's loader: the pure Python one needs a fifth of a second here.
    config = OmegaConf.create(yaml.load((folder / ".hydra" / "config.yaml").read_bytes(), yaml.CSafeLoader))
    return OmegaConf.to_container(config, resolve=True)


def wandb_settings(folder: Path) -> Any:
    """Returns W&B's settings for a run, and keeps its files in the run's folder."""
    import wandb

    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # Pictures of offline runs wait here, not in the user's home.
    os.environ.pop("WANDB_SERVICE", None)  # Another process's service ends when that does.
    return wandb.Settings(init_timeout=INIT_TIMEOUT_S, silent=True, x_transaction_log_flush_interval=FLUSH_INTERVAL_S)
