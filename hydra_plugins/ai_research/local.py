"""Hydra finds launchers only below `hydra_plugins`; the work is in `common/launch/local.py`."""

from collections.abc import Sequence
from typing import Annotated

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.launch.local import LocalResources, launch
from common.utils.beartype import ge


class LocalLauncher(Launcher):
    """Runs subtasks in this process, one after the other."""

    def __init__(self, cpus_per_task: Annotated[int, ge(1)] | None, tasks_per_node: Annotated[int, ge(1)]) -> None:
        """Takes the fields of `LocalLauncherConfig`."""
        self.resources = LocalResources(cpus_per_task=cpus_per_task, tasks_per_node=tasks_per_node)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Takes what Hydra composed."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the points given by their overrides."""
        points = [list(overrides) for overrides in job_overrides]
        return launch(self.hydra_context, self.task_function, self.config, points, self.resources)
