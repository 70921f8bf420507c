"""Hydra finds launchers only below `hydra_plugins`; the work is in `common/launch/local.py`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError
from common.launch.composing import CachingConfigLoader
from common.launch.local import launch
from common.launch.point import Command
from common.launch.resources import LocalResources, Resources
from common.launch.sweep.search import Search


class LocalLauncher(Launcher):
    """Runs subtasks on this machine."""

    resources: Resources

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `LocalResources`."""
        self.resources = LocalResources(**fields)

    __init__.__annotations__ = LocalResources.__init__.__annotations__  # Values are judged by them.

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra composed."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def check_request(self, num_points: int) -> None:
        """Does nothing: what is more than this machine has is capped."""

    def command(self, search: Search) -> Command:
        """Returns what is asked for, given what chooses the points."""
        loader = self.hydra_context.config_loader
        assert isinstance(loader, CachingConfigLoader)
        return Command(self.hydra_context, self.task_function, self.config, search, self.resources, loader.engine)

    def run(self, search: Search) -> Sequence[JobReturn]:
        """Runs the points that a search chooses."""
        return launch(self.command(search))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Refuses Hydra's own sweepers, which hand over their points by this method, in one piece."""
        raise ConfigError("Use hydra/sweeper=grid or hydra/sweeper=optuna: the launchers know no other sweeper.")
