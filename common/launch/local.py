"""The local launcher: subtasks run in this process, one after the other."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from common.errors import ConfigError, RunError, message_of
from common.launch.job import run_job
from common.launch.settle import settle
from common.launch.sweep import swept_keys
from common.run.folder import name_of_point, reserve_folder
from common.utils.beartype import ge
from common.utils.hydra import editable
from common.utils.misc import available_cpus

log = logging.getLogger(__name__)


@dataclass
class LocalResources:
    """What a subtask may use of this machine.

    Attributes:
        cpus_per_task: CPUs for torch's threads and for data-loading workers; null means all that this process may use.
            More than there are is capped, and said.
    """

    cpus_per_task: Annotated[int, ge(1)] | None = None


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
    configs = [_compose(context, config, index, point) for index, point in enumerate(points)]
    if any(composed.config.preflight_only for composed in configs):
        print(f"Preflight: {len(points)} configuration(s) checked, nothing wrong. Nothing was started.")
        return []
    for composed in configs:
        _check_device(composed.config.device)
        settle(composed)
    _limit_threads(resources)
    swept = swept_keys(list(config.hydra.overrides.task))
    folder = reserve_folder(Path(config.hydra.sweep.dir))
    results = []
    for index, (point, composed) in enumerate(zip(points, configs, strict=True)):
        own = [override for override in point if override.lstrip("+").partition("=")[0] in swept]
        subdir = name_of_point(index, len(points), own) if swept else "."
        if swept:
            print(f"\n[{index + 1}/{len(points)}] {' '.join(own)}")
        with editable(composed):
            composed.hydra.sweep.dir, composed.hydra.sweep.subdir = str(folder), subdir
            composed.config.output_dir = str(folder / subdir)
        results.append(run_job(context, task_function, composed))
        if results[-1].status == JobStatus.FAILED and not swept:
            raise results[-1]._return_value
        if results[-1].status == JobStatus.FAILED:
            print(message_of(results[-1]._return_value))
    _raise_failures(results, folder)
    return results


def _compose(context: HydraContext, config: DictConfig, index: int, point: list[str]) -> DictConfig:
    composed = context.config_loader.load_sweep_config(config, point)
    with editable(composed):
        composed.hydra.job.num = index
        composed.hydra.job.id = str(index)
    return composed


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
    wanted = resources.cpus_per_task or available
    if wanted > available:
        print(f"hydra.launcher.cpus_per_task={wanted} is more than this machine grants: {available} used.")
    torch.set_num_threads(min(wanted, available))


def _raise_failures(results: list[JobReturn], folder: Path) -> None:
    failed = [index for index, result in enumerate(results) if result.status == JobStatus.FAILED]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(results)} points failed: numbers {', '.join(map(str, failed))}. "
            f"Their logs are in their folders below {folder}."
        )
