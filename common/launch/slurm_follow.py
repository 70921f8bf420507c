"""Follows jobs: what the queue says of them, and what they have written into their folders."""

import time
from pathlib import Path

from common.launch.progress import OVER, Job, State, show_counts, tell_state
from common.run.choice import read_record
from common.run.queue import job_states

POLL_S = 2.0


def how_to_follow(job_id: int, folder: Path) -> str:
    """Returns what a person types to follow or to cancel jobs that go on by themselves."""
    return f"  follow  squeue --jobs {job_id}\n          tail -F {folder}/.slurm/*.out\n  cancel  scancel {job_id}"


def follow(job_id: int, folder: Path, jobs: list[Job]) -> dict[int, str]:
    """Waits until all jobs are over, and says what becomes of them.

    Args:
        job_id: SLURM's number for all of them.
        folder: The folder of the run or the sweep.
        jobs: In the order of their tasks.

    Returns:
        What went wrong, by the index of the point whose job failed.
    """
    states: dict[int, State] = {}
    try:
        while len([state for state in states.values() if state in OVER]) < len(jobs):
            queue = job_states(job_id)
            for task, job in enumerate(jobs):
                state = state_of(job, queue.get(task if len(jobs) > 1 else None))
                if states.get(task) != state:
                    states[task] = state
                    tell_state(job, state)
            show_counts(states, dict(enumerate(jobs)))
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on without this command.\n{how_to_follow(job_id, folder)}")
        raise
    failed = [job for task, job in enumerate(jobs) if states[task] == "failed"]
    return {job.point.index: _error_of(job) for job in failed}


def state_of(job: Job, in_queue: str | None) -> State:
    """Returns how a job stands.

    Args:
        job: The job.
        in_queue: Its state in SLURM's queue, or None if it has left it.
    """
    if in_queue is not None:
        return "pending" if in_queue == "PENDING" else "running"
    return "finished" if read_record(job.folder)["status"] == "finished" else "failed"


def _error_of(job: Job) -> str:
    return str(read_record(job.folder).get("error") or "it left the queue without a result")
