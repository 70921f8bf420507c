"""Follows jobs: what the queue says of them, and what they have written into their folders."""

import time
from pathlib import Path

from common.launch.display import OVER, Job, State, displayed
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
    try:
        with displayed(jobs) as display:
            while any(job.state not in OVER for job in jobs):
                display.refresh()
                time.sleep(POLL_S)
                queue = job_states(job_id)
                for task, job in enumerate(jobs):
                    state = state_of(job, queue.get(task if len(jobs) > 1 else None))
                    if state != job.state:
                        display.tell(job, state)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on without this command.\n{how_to_follow(job_id, folder)}")
        raise
    return {job.point.index: _error_of(job) for job in jobs if job.state == "failed"}


def state_of(job: Job, in_queue: str | None) -> State:
    """Returns how a job stands.

    Args:
        job: The job.
        in_queue: Its state in SLURM's queue, or None if it has left it.
    """
    if in_queue is not None:
        return "pending" if in_queue == "PENDING" else "running"
    return "finished" if job.is_finished else "failed"


def _error_of(job: Job) -> str:
    return job.record.error or "it left the queue without a result"
