"""Hydra finds launchers only below `hydra_plugins`; the work is in `common/launch/slurm/launcher.py`."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn

from common.launch.resources import SlurmResources
from common.launch.slurm.commands import check_request
from common.launch.slurm.launcher import launch
from common.launch.sweep.search import Search
from hydra_plugins.ai_research.local import LocalLauncher


class SlurmLauncher(LocalLauncher):
    """Submits subtasks to SLURM."""

    resources: SlurmResources

    def __init__(self, **fields: Any) -> None:
        """Takes the fields of `SlurmResources`."""
        self.resources = SlurmResources(**fields)

    __init__.__annotations__ = SlurmResources.__init__.__annotations__  # Values are judged by them.

    def check_request(self, num_points: int) -> None:
        """Asks SLURM whether it could ever run such jobs."""
        check_request(num_points, self.resources)

    def run(self, search: Search) -> Sequence[JobReturn]:
        """Submits the points that a search chooses."""
        return launch(self.command(search))
