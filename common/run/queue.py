"""What SLURM says of a job; nothing, where there is no SLURM."""

import shutil
import subprocess
from collections.abc import Callable

from common.run.record import Record


def job_states(job_id: int) -> dict[int | None, str]:
    """Returns the states of a job's tasks that are still in the queue.

    Args:
        job_id: SLURM's number, the array's where there is one.

    Returns:
        By the task's number, or None for a job without tasks, for instance `{0: "RUNNING", 1: "PENDING"}`.
    """
    if shutil.which("squeue") is None:
        return {}
    words = ["squeue", "--noheader", "--array", "--jobs", str(job_id), "--format", "%K %T"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)
    states: dict[int | None, str] = {}
    for line in listed.stdout.splitlines():
        task, state = line.split()
        states[int(task) if task.isdigit() else None] = state
    return states


def is_in_queue(record: Record, states_of: Callable[[int], dict[int | None, str]] = job_states) -> bool:
    """Returns whether a run's record names a job that still waits or runs.

    Args:
        record: The run's record.
        states_of: What says how a job's tasks stand.
    """
    job = record.slurm
    if job is None:
        return False
    states = states_of(job.job_id)
    return bool(states) if job.task is None else job.task in states
