"""Hydra finds launchers only below `hydra_plugins`; the work is in `common/launch/slurm.py`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

from common.launch.resources import SlurmResources
from common.launch.slurm import launch
from hydra_plugins.ai_research.local import LocalLauncher


class SlurmLauncher(LocalLauncher):
    """Submits subtasks to SLURM."""

    resources: SlurmResources

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `SlurmResources`."""
        self.resources = SlurmResources(**fields)

    __init__.__annotations__ = SlurmResources.__init__.__annotations__  # Values are judged by them.

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submits the points given by their overrides."""
        points = [list(overrides) for overrides in job_overrides]
        return launch(self.hydra_context, self.task_function, self.config, points, self.resources)
