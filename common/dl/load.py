"""Loads what a run has trained: for notebooks, and for whoever wants to use it."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf

from common.check.targets import check_targets
from common.dl.engine import DEEP_LEARNING
from common.errors import ConfigError
from common.run.checkpoint import BEST, BEST_SO_FAR, LAST, read_checkpoint, read_state
from common.run.finished import settled
from common.run.metrics import read_metrics

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

    Args:
        folder: The run's folder.
        allowed_targets: What the project's runner allows besides the standing list.

    Raises:
        ConfigError: the network is not there, or the configuration names something that it may not.
    """
    source = settled(folder)
    config = OmegaConf.load(source / ".hydra" / "config.yaml")
    assert isinstance(config, DictConfig)
    tree = OmegaConf.to_container(config.litmodule, resolve=True)
    problems = check_targets(tree, registered=(), widened=allowed_targets)
    if problems:
        raise ConfigError("\n".join(problem.text for problem in problems))
    checkpoint = best_checkpoint(folder / DEEP_LEARNING.checkpoints)
    module = instantiate(config.litmodule)
    module.load_state_dict(checkpoint["state_dict"])
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
