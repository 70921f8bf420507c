"""Loads a run back: for notebooks, and for whoever wants to use what was trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.check.gate import admit_from_disk
from common.errors import ConfigError
from common.run.checkpoint import BEST, FOLDER_NAME, LAST, read_checkpoint
from common.run.files import read_bytes
from common.run.finished import settled
from common.run.metrics import read_metrics
from common.utils.text import short

if TYPE_CHECKING:
    import torch

CONFIG_FILE = ".hydra/config.yaml"


@dataclass
class LoadedRun:
    """A run, loaded.

    Attributes:
        module: The trained module, on the CPU and in evaluation mode.
        config: The configuration that the run used.
        metrics: The rows of `metrics.csv`, each a mapping from metric to number.
    """

    module: "torch.nn.Module"
    config: DictConfig
    metrics: list[dict[str, float]]


def load(folder: str | Path, allowed_targets: tuple[str, ...] = ()) -> LoadedRun:
    """Loads a finished or an interrupted run.

    The folder may be anybody's: what its configuration names is judged as a task file's is, and the Lightning module is
    built from the very tree that was judged.

    Args:
        folder: The run's folder. The best checkpoint is taken; where there is none, the last.
        allowed_targets: What the project's runner allows besides the standing list.

    Returns:
        The trained module, its configuration and its metrics.

    Raises:
        ConfigError: the folder is not a run's, or its configuration names something it may not.
    """
    from torch.nn import Module  # Only here: common.run is imported where torch is not.

    folder = Path(folder).expanduser()
    if not (folder / CONFIG_FILE).is_file():
        raise ConfigError(f"{folder} is not a run's folder: it has no {CONFIG_FILE}.")
    source = settled(folder)
    config = _read_config(source)
    tree = admit_from_disk(config.get("litmodule"), "litmodule", Module, allowed_targets)
    checkpoints = [folder / FOLDER_NAME / name for name in (BEST, LAST)]
    path = next((path for path in checkpoints if path.is_file()), checkpoints[-1])
    module: Any = instantiate(tree)
    try:
        module.load_state_dict(read_checkpoint(path)["state_dict"])
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ConfigError(f"{path} does not fit the network of {folder / CONFIG_FILE}: {short(str(error))}") from error
    return LoadedRun(module=module.eval(), config=config, metrics=read_metrics(source))


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
