"""What chooses the points of a command, as its sweeper says."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from common.launch.role import folder_of_first_rank, folder_of_job
from common.launch.sweep.optuna import OptunaFields, OptunaSearch, OptunaSweeperConfig
from common.launch.sweep.search import Grid, GridFields, Search


def search_of(sweeper: DictConfig, arguments: list[str]) -> Search:
    """Returns what chooses a command's points; where others have chosen one for this process, that one.

    Args:
        sweeper: The node `hydra.sweeper`.
        arguments: The command's overrides.

    Raises:
        ConfigError: the sweeper cannot sweep over what is asked for.
    """
    is_chosen = folder_of_job() is not None or folder_of_first_rank() is not None
    if is_chosen:
        return Grid(arguments, GridFields())
    node: Any = OmegaConf.to_container(sweeper, resolve=True)
    fields = {key: value for key, value in node.items() if key[0] != "_"}
    if sweeper._target_ != OptunaSweeperConfig._target_:
        return Grid(arguments, GridFields(**fields))
    return OptunaSearch(arguments, OptunaFields(**fields))
