"""The local launcher: subtasks run in this process, one after the other."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError
from common.launch.job import run_further_rank, run_job
from common.launch.local_sweep import launch_sweep
from common.launch.point import compose_point
from common.launch.ranks import folder_of_first_rank
from common.launch.sweep import swept_keys
from common.run.choice import choose_folder, newest_run
from common.utils.beartype import ge
from common.utils.misc import available_cpus

log = logging.getLogger(__name__)


@dataclass
class LocalResources:
    """What a subtask may use of this machine.

    Attributes:
        cpus_per_task: CPUs for torch's threads and for data-loading workers; null means all that this process may use.
            More than there are is capped, and said.
        tasks_per_node: Processes (ranks) that share the work of a subtask.
    """

    cpus_per_task: Annotated[int, ge(1)] | None = None
    tasks_per_node: Annotated[int, ge(1)] = 1


@dataclass
class LocalLauncherConfig(LocalResources):
    """Configures the local launcher; see `LocalResources`."""

    _target_: str = "hydra_plugins.ai_research.local.LocalLauncher"


def launch(
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    points: list[list[str]],
    resources: LocalResources,
) -> list[JobReturn]:
    """Runs every point of a command in this process.

    Args:
        context: Hydra's means to compose configurations.
        task_function: Runs a composed configuration.
        config: The command's configuration, without the values that are swept.
        points: Each point's overrides.
        resources: What a subtask may use.

    Returns:
        The points' results, in the same order.

    Raises:
        ConfigError: the configuration cannot be run on this machine; nothing was started.
        RunError: at least one point of a sweep failed; the others were finished first.
    """
    setup_globals()
    swept = swept_keys(list(config.hydra.overrides.task))
    composed = [
        compose_point(context, config, index, point, swept, resources.tasks_per_node)
        for index, point in enumerate(points)
    ]
    if any(point.config.config.preflight_only for point in composed):
        print(f"Preflight: {len(points)} configuration(s) checked, nothing wrong. Nothing was started.")
        return []
    for point in composed:
        _check_device(point.config.config.device)
        point.settle()
    _limit_threads(resources)
    first_rank_folder = folder_of_first_rank()
    if first_rank_folder is not None:
        return [run_further_rank(task_function, composed[0], first_rank_folder)]
    wanted = Path(config.hydra.sweep.dir)
    if swept:
        return launch_sweep(context, task_function, composed, wanted)
    launch_facts = composed[0].launch()
    choice = choose_folder(
        wanted, launch_facts, newest_run(wanted.parent, launch_facts), may_continue=composed[0].may_continue
    )
    result = run_job(context, task_function, composed[0], choice)
    if result.status == JobStatus.FAILED:
        raise result._return_value
    return [result]


def _check_device(device: str) -> None:
    if device == "gpu":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(
                "config.device='gpu', but PyTorch sees no GPU on this machine. Use config.device=cpu, or see "
                "Troubleshooting in GUIDE.md if there is one."
            )


def _limit_threads(resources: LocalResources) -> None:
    """Gives torch as many threads as the subtask has CPUs."""
    import torch

    available = available_cpus()
    share = max(1, available // resources.tasks_per_node)
    wanted = resources.cpus_per_task or share
    if wanted > share:
        print(f"hydra.launcher.cpus_per_task={wanted} is more than this machine grants: {share} used.")
    torch.set_num_threads(min(wanted, share))
