"""Loads a run back: for notebooks, and for whoever wants to use what was trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra_zen import instantiate
from omegaconf import DictConfig, OmegaConf

from common.check.targets import check_targets
from common.errors import ConfigError
from common.run.checkpoint import BEST, FOLDER_NAME, LAST, read_checkpoint
from common.run.finished import settled
from common.run.metrics import read_metrics

if TYPE_CHECKING:
    import torch


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

    Args:
        folder: The run's folder. The best checkpoint is taken; where there is none, the last.
        allowed_targets: What the project's runner allows besides the standing list.

    Returns:
        The trained module, its configuration and its metrics.

    Raises:
        ConfigError: the folder is not a run's, or its configuration names something it may not.
    """
    folder = Path(folder).expanduser()
    if not (folder / ".hydra" / "config.yaml").is_file():
        raise ConfigError(f"{folder} is not a run's folder: it has no .hydra/config.yaml.")
    source = settled(folder)
    config = OmegaConf.load(source / ".hydra" / "config.yaml")
    assert isinstance(config, DictConfig)
    tree = OmegaConf.to_container(config.litmodule, resolve=True)
    problems = check_targets(tree, registered=(), widened=allowed_targets)
    if problems:
        raise ConfigError("\n".join(problem.text for problem in problems))
    checkpoints = [folder / FOLDER_NAME / name for name in (BEST, LAST)]
    path = next((path for path in checkpoints if path.is_file()), checkpoints[-1])
    module = instantiate(config.litmodule)()
    module.load_state_dict(read_checkpoint(path)["state_dict"])
    return LoadedRun(module=module.eval(), config=config, metrics=read_metrics(source))
