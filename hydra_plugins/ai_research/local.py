"""Hydra finds launchers only below `hydra_plugins`; the work is in `common/launch/local.py`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.launch.local import launch
from common.launch.resources import Resources


class LocalLauncher(Launcher):
    """Runs subtasks in this process, one after the other."""

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `Resources`."""
        self.resources = Resources(**fields)

    __init__.__annotations__ = Resources.__init__.__annotations__  # Values are judged by them.

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra composed."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the points given by their overrides."""
        points = [list(overrides) for overrides in job_overrides]
        return launch(self.hydra_context, self.task_function, self.config, points, self.resources)
