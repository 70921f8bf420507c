"""What SLURM says of jobs. A question that fails is no answer: it is asked again, and then said to be unanswered."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from common.errors import ConfigError, RunError
from common.run.neutral import neutral_environment
from common.run.record import Record

NUM_TRIES = 3
"""How often a question is asked, or a command given, before it is left at that."""

PAUSE_S = 2.0
"""How long to wait before the next time."""

TIMEOUT_S = 60.0
"""How long one of SLURM's commands may take; its own limits are shorter as a rule."""

OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
)
"""States of jobs that have left the queue. SLURM remembers them for some minutes."""

FIELDS = ("ArrayJobID", "ArrayTaskID", "RestartCnt", "State", "Reason")

UNKNOWN_JOB = "Invalid job id"

Task = tuple[int, int | None]
"""A job's number, the array's where it is of one, and its number in the array."""

Answer = TypeVar("Answer")


class UnansweredError(RunError):
    """SLURM has not answered a question, however often it was asked."""


@dataclass(frozen=True)
class Standing:
    """How a job stands.

    Attributes:
        state: In SLURM's word for it.
        num_restarts: How often it was queued again.
        reason: Why it waits.
    """

    state: str
    num_restarts: int = 0
    reason: str = "None"

    @property
    def is_held(self) -> bool:
        """Whether it waits until somebody releases it."""
        return self.state == "PENDING" and self.reason == "JobHeldUser"

    @property
    def is_in_queue(self) -> bool:
        """Whether it waits or runs."""
        return self.state not in OVER


def standings(job_ids: Iterable[int], num_tries: int = NUM_TRIES) -> dict[Task, Standing]:
    """Returns how jobs and their tasks stand: those that wait or run, and those that ended some minutes ago.

    Args:
        job_ids: SLURM's numbers, the array's where there is one.
        num_tries: How often to ask.

    Raises:
        UnansweredError: SLURM does not answer.
    """
    widths = ",".join(f"{field}:{60}" for field in FIELDS)
    listed = ",".join(map(str, job_ids))
    words = ["squeue", "--noheader", "--array", "--states=all", "--jobs", listed, "--Format", widths]
    return asked(words, parse, num_tries, empty_if=UNKNOWN_JOB)


def parse(printed: str) -> dict[Task, Standing]:
    """Returns what `squeue` printed.

    Raises:
        ValueError: it printed something else.
    """
    found = {}
    for line in printed.splitlines():
        job, task, restarts, state, reason = line.split(maxsplit=len(FIELDS) - 1)
        if not re.fullmatch("[A-Z_]+", state):
            raise ValueError(line)
        found[int(job), int(task) if task.isdigit() else None] = Standing(state, int(restarts), reason.strip())
    return found


def asked(
    words: list[str], read: Callable[[str], Answer], num_tries: int = NUM_TRIES, empty_if: str | None = None
) -> Answer:
    """Runs one of SLURM's commands until it answers.

    Args:
        words: The command.
        read: Makes an answer of what it prints, or raises a ValueError.
        num_tries: How often to ask.
        empty_if: What it says where there is nothing to print.

    Raises:
        UnansweredError: it does not.
    """
    for number in range(num_tries):
        if number:
            time.sleep(PAUSE_S)
        said = said_by(words)
        if isinstance(said, str):
            problem = said
        elif said.returncode == 0 or (empty_if is not None and empty_if in said.stderr):
            try:
                return read(said.stdout if said.returncode == 0 else "")
            except ValueError:
                problem = f"it printed {said.stdout.strip()[:200]!r}"
        else:
            problem = said.stderr.strip() or f"it ended with status {said.returncode}"
    times = f", asked {num_tries} times" if num_tries > 1 else ""
    raise UnansweredError(f"SLURM does not answer `{' '.join(words[:1])}`{times}: {problem}")


def said_by(words: list[str], **options: Any) -> subprocess.CompletedProcess[str] | str:
    """Runs one of SLURM's commands once; returns its end, or why there is none."""
    options = {"env": neutral_environment(), "encoding": "utf-8", "errors": "replace", **options}
    try:
        return subprocess.run(words, capture_output=True, check=False, timeout=TIMEOUT_S, **options)
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S:.0f} s"
    except OSError as error:
        return f"{words[0]}: {error.strerror}"


def jobs_of(record: Record) -> list[int]:
    """Returns the numbers of the jobs that a record names: several for a sweep that was submitted in pieces."""
    job = record.slurm
    return (job.job_ids or [job.job_id]) if job is not None else []


def has_place_in_queue(
    record: Record, standings_of: Callable[[Iterable[int]], dict[Task, Standing]] = standings
) -> bool:
    """Returns whether a run's record names a job that still waits or runs.

    Args:
        record: The run's record.
        standings_of: What says how jobs stand.

    Raises:
        UnansweredError: SLURM does not answer.
    """
    if record.slurm is None:
        return False
    task, found = record.slurm.task, standings_of(jobs_of(record))
    return any(one.is_in_queue for (_, number), one in found.items() if task in (None, number))


def is_in_queue(record: Record) -> bool:
    """Returns whether a run must be left alone, because its job still waits or runs.

    Raises:
        ConfigError: nobody knows.
    """
    if record.status in ("finished", "failed") and not _knows_slurm():
        return False  # Such a job does not come back by itself.
    try:
        return has_place_in_queue(record)
    except UnansweredError as error:
        raise ConfigError(
            f"An earlier launch was submitted as job {jobs_of(record)[0]}, and whether that still waits or runs is "
            f"unknown. {error}\nNothing was started: try again where and when SLURM answers, or start a new run with "
            "config.ckpt_path=null."
        ) from error


def _knows_slurm() -> bool:
    return shutil.which("squeue") is not None
