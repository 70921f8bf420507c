"""Loads what a run has trained: for notebooks, and for whoever wants to use it."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.check.gate import admit_from_disk
from common.dl.engine import DEEP_LEARNING
from common.errors import ConfigError
from common.run.checkpoint import BEST, BEST_SO_FAR, LAST, read_checkpoint, read_state
from common.run.files import read_bytes
from common.run.finished import settled
from common.run.metrics import read_metrics
from common.utils.text import short

CONFIG_FILE = ".hydra/config.yaml"

log = logging.getLogger(__name__)


@dataclass
class LoadedRun:
    """A run, loaded.

    Attributes:
        module: The trained module, on the CPU and in evaluation mode.
        config: The configuration that the run used.
        metrics: The rows of `metrics.csv`, each a mapping from metric to number.
    """

    module: torch.nn.Module
    config: DictConfig
    metrics: list[dict[str, float]]


def load_run(folder: Path, allowed_targets: tuple[str, ...]) -> LoadedRun:
    """Loads a finished or an interrupted run, with the network that had the best validation loss.

    The folder may be anybody's: what its configuration names is judged as a task file's is, and the Lightning module is
    built from the very tree that was judged.

    Args:
        folder: The run's folder.
        allowed_targets: What the project's runner allows besides the standing list.

    Raises:
        ConfigError: the network is not there, or the configuration names something that it may not.
    """
    source = settled(folder)
    config = _read_config(source)
    tree = admit_from_disk(config.get("litmodule"), "litmodule", torch.nn.Module, allowed_targets)
    checkpoint = best_checkpoint(folder / DEEP_LEARNING.checkpoints)
    module: Any = instantiate(tree)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"The checkpoints of {folder} do not fit the network of {folder / CONFIG_FILE}: {short(str(error))}"
        ) from error
    return LoadedRun(module=module.eval(), config=config, metrics=read_metrics(source))


def best_checkpoint(folder: Path) -> dict[str, Any]:
    """Returns the checkpoint with the best network; the last one where none was better, or nothing was validated.

    Args:
        folder: Holds the run's checkpoints.

    Raises:
        ConfigError: it is missing or damaged. Another network is never taken for it.
    """
    if (folder / BEST).exists():
        return read_checkpoint(folder / BEST)
    last = read_state(folder / LAST)
    best_so_far = last[BEST_SO_FAR]
    if math.isfinite(best_so_far["loss"]) and not best_so_far["is_own"]:
        raise ConfigError(
            f"{folder / BEST} is missing, which held the network with the best validation loss. Restore it; the last "
            f"network, another one, lies in {folder / LAST}, under the key state_dict."
        )
    if not best_so_far["is_own"]:
        log.warning("%s: nothing was validated while it trained, so the last network is loaded.", folder.parent)
    return last


def _read_config(folder: Path) -> DictConfig:
    """Returns the configuration that lies in a run's folder.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        config = OmegaConf.create(yaml.load(read_bytes(folder, CONFIG_FILE).decode(), yaml.CSafeLoader))
    except (ValueError, TypeError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{folder / CONFIG_FILE} is damaged: {short(str(error).partition(chr(10))[0])}.") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{folder / CONFIG_FILE} is damaged: it is not a configuration.")
    return config
