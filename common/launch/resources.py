"""What a subtask asks for: of this machine, and of a cluster."""

import re
import shlex
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

from common.config import Device
from common.errors import ConfigError
from common.utils.beartype import ge, gt

WEEK_MIN = 7 * 24 * 60

GPUS = r"(?:gres[:/])?gpu(?::[^:]*[^:\d][^:]*)?(?::(\d+))?"
"""GPUs in a list of generic resources: with or without a type, such as `h100`, and a number."""


@dataclass
class Resources(SlurmQueueConf):  # type: ignore[misc]  # It has no types for checkers.
    """What a task file may ask for, whichever launcher runs it: the fields of hydra-submitit-launcher, and ours.

    Those that are not listed here are as there. This machine honours `cpus_per_task`, `tasks_per_node` and the number
    of GPUs, and is one node; the other fields mean something to a cluster alone.

    Attributes:
        nodes: Machines that share the work of a subtask.
        cpus_per_task: CPUs per process, for torch's threads and for data-loading workers. null: on this machine all
            that the process may use, on a cluster one.
        tasks_per_node: Processes (ranks) on each node that share the work of a subtask.
        gpus_per_node: GPUs of each node; null: none asked for. With `config.device=gpu` each has a process (rank) of
            its own. GPUs of a type are asked for by `gres` instead, as in `gpu:h100:2`.
        mem_gb: Memory of each node in GB; null: the cluster's default.
        timeout_min: Minutes after which the cluster stops a job, which is then queued again and goes on.
        array_parallelism: Points of a sweep that may run at the same time.
        signal_delay_s: How long before the time limit a job is told to save and leave.
        max_num_timeout: How often a job that was stopped, by its time limit or otherwise, is queued again.
        python: The command that runs Python in a job, for instance `apptainer exec image.sif python`; null: the
            interpreter that runs now.
    """

    nodes: Annotated[int, ge(1)] = SlurmQueueConf.nodes
    cpus_per_task: Annotated[int, ge(1)] | None = SlurmQueueConf.cpus_per_task
    tasks_per_node: Annotated[int, ge(1)] = SlurmQueueConf.tasks_per_node
    gpus_per_node: Annotated[int, ge(0)] | None = SlurmQueueConf.gpus_per_node
    mem_gb: Annotated[float, gt(0)] | None = SlurmQueueConf.mem_gb
    array_parallelism: Annotated[int, ge(1)] = SlurmQueueConf.array_parallelism
    signal_delay_s: Annotated[int, ge(1)] = SlurmQueueConf.signal_delay_s
    # Other defaults than there: a job is continued here, so that neither a limit nor a stop costs more than minutes.
    timeout_min: Annotated[int, ge(1)] = WEEK_MIN
    max_num_timeout: Annotated[int, ge(0)] = 100
    stderr_to_stdout: bool = True
    python: str | None = None
    # Not a field here: what is submitted lies in the run's folder.
    submitit_folder: ClassVar[str] = ".slurm"

    @property
    def num_gpus(self) -> int | None:
        """How many GPUs of each node are asked for, in whichever field; None where none are.

        Raises:
            ConfigError: two fields ask for them.
        """
        asked = {
            "gpus_per_node": self.gpus_per_node,
            "gres": _gpus_in(self.gres),
            "gpus_per_task": None if self.gpus_per_task is None else self.gpus_per_task * self.tasks_per_node,
        }
        given = {name: number for name, number in asked.items() if number is not None}
        if len(given) > 1:
            fields = " and ".join(f"hydra.launcher.{name}={getattr(self, name)}" for name in given)
            raise ConfigError(f"{fields} ask for GPUs, each in its own way. Give one of them.")
        return next(iter(given.values()), None)


@dataclass
class LocalResources(Resources):
    """What the local launcher is told besides.

    Attributes:
        max_parallel: Points of a sweep that run at the same time, each in its own process with its share of the CPUs;
            1: one after the other, in this process.
    """

    max_parallel: Annotated[int, ge(1)] = 1


@dataclass
class SlurmResources(Resources):
    """What the slurm launcher is told besides.

    Attributes:
        detach: Whether to leave once the jobs are submitted, instead of waiting for them.
    """

    detach: bool = False

    @property
    def interpreter(self) -> str:
        """The command that runs Python in a job."""
        return self.python or shlex.quote(sys.executable)


@dataclass
class LocalLauncherConfig(LocalResources):
    """Configures the local launcher."""

    _target_: str = "hydra_plugins.ai_research.local.LocalLauncher"
    _convert_: str = "all"


@dataclass
class SlurmLauncherConfig(SlurmResources):
    """Configures the slurm launcher."""

    _target_: str = "hydra_plugins.ai_research.slurm.SlurmLauncher"
    _convert_: str = "all"


def count_gpus() -> int:
    """Returns how many GPUs this process sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def granted(device: Device, resources: Resources) -> Resources:
    """Returns what a subtask gets of what it asks for: this machine is one node, and has the GPUs that it has.

    Args:
        device: Where the numbers are crunched.
        resources: What is asked for; of a cluster, which grants all of it or nothing.
    """
    if not isinstance(resources, LocalResources):
        return resources
    num_gpus = resources.num_gpus
    if num_gpus and device == "gpu":
        num_gpus = min(num_gpus, count_gpus())
    asked: dict[str, Any] = {"gpus_per_node": num_gpus, "gres": None, "gpus_per_task": None}
    return replace(resources, nodes=1, **asked)


def check_gpus(num_ranks: int) -> None:
    """Checks that this machine has a GPU for each process.

    Raises:
        ConfigError: it has not.
    """
    num_gpus = count_gpus()
    if num_gpus == 0:
        raise ConfigError(
            "config.device='gpu', but PyTorch sees no GPU on this machine. Use config.device=cpu, or see "
            "Troubleshooting in GUIDE.md if there is one."
        )
    if num_ranks > num_gpus:
        raise ConfigError(
            f"hydra.launcher.tasks_per_node={num_ranks} with config.device=gpu: each process has a GPU, and this "
            f"machine has {num_gpus}. Write hydra.launcher.tasks_per_node={num_gpus} or less."
        )


def count_ranks_per_node(device: Device, resources: Resources) -> int:
    """Returns how many processes of each node share the work of a subtask: on GPUs one for each.

    Args:
        device: Where the numbers are crunched.
        resources: What is asked for.

    Raises:
        ConfigError: two numbers of processes are asked for.
    """
    num_gpus = resources.num_gpus
    if device == "cpu" or not num_gpus:
        return resources.tasks_per_node
    if resources.tasks_per_node not in (1, num_gpus):
        raise ConfigError(
            f"hydra.launcher.tasks_per_node={resources.tasks_per_node} with {num_gpus} GPUs on each node: each GPU has "
            "one process. Leave tasks_per_node out."
        )
    return num_gpus


def _gpus_in(gres: str | None) -> int | None:
    """Returns how many GPUs of each node a list such as `gpu:h100:2,shard:4` names; None where it names none."""
    parts = [re.fullmatch(GPUS, part) for part in (gres or "").split(",")]
    named = [part for part in parts if part is not None]
    return sum(int(part[1] or 1) for part in named) if named else None
