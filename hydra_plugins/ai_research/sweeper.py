"""Hydra finds sweepers only below `hydra_plugins`; the work is in `common/launch`."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.launch.composing import CachingConfigLoader
from common.launch.sweep.optuna import OptunaFields, search_of
from common.launch.sweep.search import GridFields
from hydra_plugins.ai_research.local import LocalLauncher


class GridSweeper(Sweeper):
    """Runs every point of a grid. Unlike Hydra's own, it writes nothing before the sweep's folder is chosen."""

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `GridFields`, which are read from the configuration."""

    __init__.__annotations__ = GridFields.__init__.__annotations__  # Values are judged by them.

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra composed, and builds the launcher."""
        self.node = config.hydra.sweeper
        loader = hydra_context.config_loader
        assert isinstance(loader, CachingConfigLoader)
        self.engine = loader.engine
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs all points and returns their results."""
        assert isinstance(self.launcher, LocalLauncher)
        return self.launcher.run(search_of(self.node, arguments, self.engine))


class OptunaSweeper(GridSweeper):
    """Runs trials that Optuna chooses."""

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `OptunaFields`, which are read from the configuration."""

    __init__.__annotations__ = OptunaFields.__init__.__annotations__  # Values are judged by them.
