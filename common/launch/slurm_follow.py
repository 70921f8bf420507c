"""Follows jobs: what the queue says of them, and what they have written into their folders."""

import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.core.utils import JobReturn

from common.errors import RunError
from common.launch.local_sweep import stored_result
from common.launch.point import Point
from common.run.choice import read_record, write_record
from common.run.metrics import FILE_NAME as METRICS
from common.run.metrics import read_metrics
from common.run.queue import job_states

POLL_S = 2.0

State = Literal["pending", "running", "finished", "failed"]

OVER: tuple[State, ...] = ("finished", "failed")


@dataclass
class Job:
    """What was submitted for a point.

    Attributes:
        point: The point.
        folder: Its own folder.
    """

    point: Point
    folder: Path

    @property
    def title(self) -> str:
        """What tells it from the others."""
        return " ".join(self.point.own_overrides) or self.folder.name


def how_to_follow(job_id: int, folder: Path) -> str:
    """Returns what a person types to follow or to cancel jobs that go on by themselves."""
    return f"  follow  squeue --jobs {job_id}\n          tail -F {folder}/.slurm/*.out\n  cancel  scancel {job_id}"


def follow(job_id: int, folder: Path, jobs: list[Job]) -> dict[int, JobReturn]:
    """Waits until all jobs are over, and says what becomes of them.

    Args:
        job_id: SLURM's number for all of them.
        folder: The folder of the run or the sweep.
        jobs: In the order of their tasks.

    Returns:
        Each point's result.

    Raises:
        RunError: a job failed; the others were waited for.
    """
    states: dict[int, State] = {}
    try:
        while len([state for state in states.values() if state in OVER]) < len(jobs):
            queue = job_states(job_id)
            for task, job in enumerate(jobs):
                state = state_of(job, queue.get(task if len(jobs) > 1 else None))
                if states.get(task) != state:
                    states[task] = state
                    print(f"{_start_of_line()}{job.title}: {state}{_figures(job)}", flush=True)
            _show(states, jobs)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on without this command.\n{how_to_follow(job_id, folder)}")
        raise
    _close_sweep(folder, jobs, states)
    failed = [job for task, job in enumerate(jobs) if states[task] == "failed"]
    if failed:
        raise RunError(_describe(failed, len(jobs), folder))
    return {job.point.index: stored_result(job.folder) for job in jobs}


def state_of(job: Job, in_queue: str | None) -> State:
    """Returns how a job stands.

    Args:
        job: The job.
        in_queue: Its state in SLURM's queue, or None if it has left it.
    """
    if in_queue is not None:
        return "pending" if in_queue == "PENDING" else "running"
    return "finished" if read_record(job.folder)["status"] == "finished" else "failed"


def _figures(job: Job) -> str:
    """Returns the last metrics that a job has written, ready to be appended."""
    rows = read_metrics(job.folder) if (job.folder / METRICS).is_file() else []
    for name in ("test/loss", "val/loss", "train/loss"):
        found = [row[name] for row in rows if name in row]
        if found:
            return f"  {name} {found[-1]:.4f}"
    return ""


def _start_of_line() -> str:
    """Returns what clears the line that counts, on a terminal."""
    return "\r\033[K" if sys.stdout.isatty() else ""


def _show(states: dict[int, State], jobs: list[Job]) -> None:
    """Rewrites the line that counts, on a terminal."""
    if sys.stdout.isatty():
        counted = Counter(states.values())
        names: tuple[State, ...] = ("pending", "running", *OVER)
        running = [job for task, job in enumerate(jobs) if states[task] == "running"]
        last = f"  {running[0].title}:{_figures(running[0])}" if running else ""
        line = " · ".join(f"{counted[name]} {name}" for name in names)
        print(f"{_start_of_line()}{line}{last}", end="", flush=True)


def _close_sweep(folder: Path, jobs: list[Job], states: dict[int, State]) -> None:
    if jobs[0].folder != folder:
        status = "failed" if "failed" in states.values() else "finished"
        write_record(folder, read_record(folder) | {"status": status})


def _describe(failed: list[Job], num_jobs: int, folder: Path) -> str:
    lines = [f"{len(failed)} of {num_jobs} jobs failed; what they printed is in {folder}/.slurm/."]
    for job in failed:
        record: dict[str, Any] = read_record(job.folder)
        lines.append(f"  {job.title}: {record.get('error') or 'it left the queue without a result'}")
        lines.append(f"    {job.folder}")
    return "\n".join(lines)
