"""Follows jobs: what the queue says of them, and what they have written into their folders."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from common.errors import RunError
from common.launch.display import OVER, Display, Job, State, displayed
from common.run.finished import is_kept
from common.run.queue import Standing, Task, UnansweredError, standings
from common.run.record import Status, write_record

POLL_S = 2.0

UNANSWERED_S = 600.0
"""For how long SLURM is asked in vain before the command leaves its jobs alone."""


def how_to_follow(tasks: Mapping[Job, Task], folder: Path) -> str:
    """Returns what a person types to follow or to cancel jobs that go on by themselves."""
    jobs = sorted({job for job, _ in tasks.values()})
    listed, spaced = ",".join(map(str, jobs)), " ".join(map(str, jobs))
    return f"  follow  squeue --jobs {listed}\n          tail -F {folder}/.slurm/*.out\n  cancel  scancel {spaced}"


def follow(tasks: Mapping[Job, Task], folder: Path) -> None:
    """Waits until all jobs are over, and lets their records say how each ended.

    Args:
        tasks: SLURM's numbers of the jobs.
        folder: The folder of the run or the sweep.

    Raises:
        RunError: SLURM does not answer; the jobs go on.
    """
    answered_s = time.monotonic()
    try:
        with displayed(list(tasks)) as display:
            while any(job.state not in OVER for job in tasks):
                display.refresh()
                time.sleep(POLL_S)
                try:
                    found = standings({job for job, _ in tasks.values()})
                except UnansweredError as error:
                    _wait_for_answer(error, time.monotonic() - answered_s, tasks, folder)
                else:
                    answered_s = time.monotonic()
                    _note(tasks, found, display)
    except KeyboardInterrupt:
        print(f"\nThe jobs go on without this command.\n{how_to_follow(tasks, folder)}")
        raise


def state_of(job: Job, standing: Standing | None) -> State:
    """Returns how a job stands.

    Args:
        job: The job.
        standing: What SLURM says of it, or None if that remembers it no more.
    """
    if standing is not None and standing.is_in_queue:
        return "pending" if standing.state == "PENDING" else "running"
    if job.is_finished:
        return "finished"
    is_cancelled = standing is not None and standing.state == "CANCELLED"
    is_stopped = job.record.status == "stopped" and is_last_try(job, standing)
    return "stopped" if is_cancelled or is_stopped else "failed"


def is_last_try(job: Job, standing: Standing | None) -> bool:
    """Returns whether a job's record is of its last try: a later one may have ended before Python began."""
    recorded = job.record.slurm.num_restarts if job.record.slurm is not None else None
    return recorded is not None and (standing is None or recorded == standing.num_restarts)


def _note(tasks: Mapping[Job, Task], found: Mapping[Task, Standing], display: Display) -> None:
    """Notes how all jobs stand."""
    for job, task in tasks.items():
        state = state_of(job, found.get(task))
        if job.state not in OVER and state != job.state:
            if state in ("failed", "stopped"):
                _complete_record(job, state, found.get(task))
            display.tell(job, state)


def _complete_record(job: Job, state: State, standing: Standing | None) -> None:
    """Lets the record say how a job ended that could not do it itself, so that all that read it say the same."""
    record = job.record
    if record.status == "finished" or is_kept(job.folder) or (record.status == state and is_last_try(job, standing)):
        return  # What was finished before is as it was.
    said = f" (SLURM: {standing.state})" if standing is not None else ""
    error = f"it left the queue without a result{said}; what it printed is in .slurm/"
    if standing is not None and standing.num_restarts and not is_last_try(job, standing):
        error = f"its try {standing.num_restarts + 1} left the queue before Python began{said}; see .slurm/"
    if state == "stopped":
        error = f"it was taken out of the queue{said}"
    status: Status = "stopped" if state == "stopped" or record.has_finished else "failed"
    write_record(job.folder, replace(record, status=status, error=error))


def _wait_for_answer(error: UnansweredError, waited_s: float, tasks: Mapping[Job, Task], folder: Path) -> None:
    """Says that SLURM does not answer, and raises if it has not for long."""
    if waited_s > UNANSWERED_S:
        raise RunError(
            f"{error}, for {UNANSWERED_S / 60:.0f} minutes. The jobs go on without this command.\n"
            f"{how_to_follow(tasks, folder)}"
        ) from error
    print(f"{error}. The jobs go on; asked again.", flush=True)
