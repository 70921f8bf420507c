"""Which process this is: one that a person started, a job whose folder is chosen, or a rank that another process leads.

Whoever starts a process for a run says so in its environment; nothing else makes one.
"""

import os
import signal
from pathlib import Path

from common.errors import ConfigError
from common.run import stop

JOB_VARIABLE = "AI_RESEARCH_JOB_FOLDER"
"""Names a job's own folder, which was chosen when the job was submitted."""

FOLDER_VARIABLE = "AI_RESEARCH_RUN_FOLDER"
"""Names the folder of the run that this process shares as a rank other than the first."""

PARENT_VARIABLE = "AI_RESEARCH_PARENT_PID"
"""Names the process that started this one, and without which it is not to go on."""

STARTED_VARIABLE = "AI_RESEARCH_RANKS_STARTED"
"""Says that whoever started this process has started the others too."""

PARALLEL_VARIABLE = "AI_RESEARCH_PARALLEL"
"""Says among how many points of a sweep this machine's CPUs are shared out, this process's own included."""

REPLAY_VARIABLE = "AI_RESEARCH_REPLAY"
"""Says that this process makes a run again on this machine: all that a search or a cluster chose is given."""

JUDGED_VARIABLE = "AI_RESEARCH_JUDGED"
"""Says what was judged where this process was started: a fingerprint of the configuration that is to be built."""

RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
"""Where programs that start several ranks say which one a process is."""


def folder_of_job() -> Path | None:
    """Returns the folder that was chosen for this job, if this process is one."""
    return _folder_in(JOB_VARIABLE)


def folder_of_first_rank() -> Path | None:
    """Returns the run's folder if this process is another rank of a run that a first one leads."""
    return _folder_in(FOLDER_VARIABLE)


def are_ranks_started() -> bool:
    """Returns whether the other ranks of this process's run were started with it."""
    return STARTED_VARIABLE in os.environ


def is_replay() -> bool:
    """Returns whether this process makes a run again: see `REPLAY_VARIABLE`."""
    return REPLAY_VARIABLE in os.environ


def count_parallel() -> int:
    """Returns how many points share this machine where this process is one of them, as whoever started it says."""
    return int(os.environ.get(PARALLEL_VARIABLE, "1"))


def refuse_foreign_rank() -> None:
    """Refuses to launch a run from a process that another program started as one of several.

    Each of them would be a launch of its own, with a folder, whether it was torchrun, srun, mpirun, a library or
    somebody's own code.

    Raises:
        ConfigError: this process is such a rank.
    """
    if folder_of_first_rank() is not None or are_ranks_started():
        return
    given = {name: os.environ.get(name) or "0" for name in RANK_VARIABLES}
    size = os.environ.get("WORLD_SIZE") or "1"
    said = [f"{name}={value}" for name, value in given.items() if value != "0"]
    said += [f"WORLD_SIZE={size}"] if size != "1" else []
    if said:
        raise ConfigError(
            f"Another program started this process as one of several ranks ({', '.join(said)} in the environment). "
            "A run starts its own: type the command once, without torchrun, srun or mpirun, and write "
            "hydra.launcher.tasks_per_node=<number>, or gpus_per_node."
        )


def fingerprint_of_judged() -> str | None:
    """Returns the fingerprint of what this process is to build, if another one has judged it."""
    return os.environ.get(JUDGED_VARIABLE)


def end_with_parent(number: signal.Signals) -> None:
    """Lets this process end by a signal with the one that started it, if that says so in the environment."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        stop.end_with(int(parent), number)


def _folder_in(variable: str) -> Path | None:
    folder = os.environ.get(variable)
    return Path(folder) if folder else None
