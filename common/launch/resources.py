"""What a subtask asks for: of this machine, and of a cluster."""

import shlex
import sys
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from common.config import Device
from common.errors import ConfigError
from common.utils.beartype import ge, gt

WEEK_MIN = 7 * 24 * 60


@dataclass
class Resources:
    """What a task file may ask for, whichever launcher runs it.

    The local launcher honours `cpus_per_task`, `tasks_per_node` and `gpus_per_node`, and is one node; the other fields
    mean something to a cluster alone.

    Attributes:
        nodes: Machines that share the work of a subtask.
        cpus_per_task: CPUs per process, for torch's threads and for data-loading workers. null: on this machine all
            that the process may use, on a cluster one.
        tasks_per_node: Processes (ranks) on each node that share the work of a subtask.
        gpus_per_node: GPUs of each node; null: none asked for. With `config.device=gpu` each has a process (rank) of
            its own.
        mem_gb: Memory of each node in GB; null: the cluster's default.
        timeout_min: Minutes after which the cluster stops a job, which is then queued again and goes on.
        account: Whom the cluster charges; null: its default.
        partition: Part of the cluster; null: its default.
        qos: Quality of service; null: the cluster's default.
        constraint: Features that a node must have; null: none.
        python: The command that runs Python in a job, for instance `apptainer exec image.sif python`; null: the
            interpreter that runs now.
        setup: Lines of shell that a job begins with, such as `module load apptainer`.
    """

    nodes: Annotated[int, ge(1)] = 1
    cpus_per_task: Annotated[int, ge(1)] | None = None
    tasks_per_node: Annotated[int, ge(1)] = 1
    gpus_per_node: Annotated[int, ge(0)] | None = None
    mem_gb: Annotated[float, gt(0)] | None = None
    timeout_min: Annotated[int, ge(1)] = WEEK_MIN
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    constraint: str | None = None
    python: str | None = None
    setup: list[str] = field(default_factory=list)


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
        array_parallelism: Points of a sweep that may run at the same time.
        signal_delay_s: How long before the time limit a job is told to save and leave.
        max_num_timeout: How often a job that was stopped, by its time limit or otherwise, is queued again.
        detach: Whether to leave once the jobs are submitted, instead of waiting for them.
        additional_parameters: Further options of `sbatch`, without their dashes.
    """

    array_parallelism: Annotated[int, ge(1)] = 256
    signal_delay_s: Annotated[int, ge(1)] = 120
    max_num_timeout: Annotated[int, ge(0)] = 100
    detach: bool = False
    additional_parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def interpreter(self) -> str:
        """The command that runs Python in a job."""
        return self.python or shlex.quote(sys.executable)


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
    num_gpus = resources.gpus_per_node
    if num_gpus and device == "gpu":
        num_gpus = min(num_gpus, count_gpus())
    return replace(resources, nodes=1, gpus_per_node=num_gpus)


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
    num_gpus = resources.gpus_per_node
    if device == "cpu" or not num_gpus:
        return resources.tasks_per_node
    if resources.tasks_per_node not in (1, num_gpus):
        raise ConfigError(
            f"hydra.launcher.tasks_per_node={resources.tasks_per_node} with hydra.launcher.gpus_per_node={num_gpus}: "
            "each GPU has one process. Leave tasks_per_node out."
        )
    return num_gpus
