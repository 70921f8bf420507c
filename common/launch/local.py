"""The local launcher: subtasks run in this process, one after the other."""

import logging
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError
from common.launch.job import run_further_rank, run_job, run_own_job
from common.launch.local_sweep import launch_sweep
from common.launch.point import settled_points
from common.launch.ranks import folder_of_first_rank
from common.launch.resources import Resources
from common.run.choice import choose_folder, folder_of_job, newest_run
from common.utils.misc import available_cpus

log = logging.getLogger(__name__)


@dataclass
class LocalLauncherConfig(Resources):
    """Configures the local launcher; see `Resources`."""

    _target_: str = "hydra_plugins.ai_research.local.LocalLauncher"
    _convert_: str = "all"


def launch(
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    points: list[list[str]],
    resources: Resources,
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
    composed = settled_points(context, config, points, resources.tasks_per_node)
    if not composed:
        return []
    for point in composed:
        _check_device(point.config.config.device)
    _limit_threads(resources)
    first_rank_folder = folder_of_first_rank()
    if first_rank_folder is not None:
        return [run_further_rank(task_function, composed[0], first_rank_folder)]
    own_folder = folder_of_job()
    if own_folder is not None:
        return [_result_of(run_own_job(context, task_function, composed[0], own_folder))]
    wanted = Path(config.hydra.sweep.dir)
    if composed[0].own_overrides:
        return launch_sweep(context, task_function, composed, wanted)
    launch_facts = composed[0].launch()
    choice = choose_folder(
        wanted, launch_facts, newest_run(wanted.parent, launch_facts), may_continue=composed[0].may_continue
    )
    return [_result_of(run_job(context, task_function, composed[0], choice))]


def _result_of(result: JobReturn) -> JobReturn:
    """Returns a job's result, or raises its error."""
    if result.status == JobStatus.FAILED:
        raise result._return_value
    return result


def _check_device(device: str) -> None:
    if device == "gpu":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(
                "config.device='gpu', but PyTorch sees no GPU on this machine. Use config.device=cpu, or see "
                "Troubleshooting in GUIDE.md if there is one."
            )


def _limit_threads(resources: Resources) -> None:
    """Gives torch as many threads as the subtask has CPUs."""
    import torch

    available = available_cpus()
    share = max(1, available // resources.tasks_per_node)
    wanted = resources.cpus_per_task or share
    if wanted > share:
        print(f"hydra.launcher.cpus_per_task={wanted} is more than this machine grants: {share} used.")
    torch.set_num_threads(min(wanted, share))
