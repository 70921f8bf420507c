"""Hydra finds sweepers only below `hydra_plugins`; the work is in `common/launch/sweep.py`."""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.launch.sweep import expand_grid


class GridSweeper(Sweeper):
    """Launches every point of a grid. Unlike Hydra's own, it writes nothing before the run's folder is chosen."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra composed, and builds the launcher."""
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Runs all points and returns their results."""
        return self.launcher.launch(expand_grid(arguments), initial_job_idx=0)
