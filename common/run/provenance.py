"""Where a run came from, and how its launches ended: what goes on record as a launch starts and ends."""

import contextlib
import getpass
import os
import platform
import shlex
import socket
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.run.continuation import Run
from common.run.keys import redacted
from common.run.metrics import read_last_metrics
from common.run.record import Launch, Machine, Status
from common.utils.misc import available_cpus

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "hydra-zen",
    "omegaconf",
    "numpy",
    "beartype",
    "jaxtyping",
    "wandb",
    "torchvision",
    "gymnasium",
    "numba",
)
"""Packages whose versions can change a result."""


def start_launch(run: Run, **facts: Any) -> None:
    """Writes that a run begins, or goes on, now.

    Args:
        run: The run.
        **facts: What only the caller knows: the state of the code, the seed, the data that is used, the origin.
    """
    record, started = run.record, _now()
    run.update(
        status="running",
        command=redacted(command_line()),
        working_directory=str(Path.cwd()),
        started=record.started or started,
        ended=None,
        error=None,
        python=platform.python_version(),
        machine=machine(),
        launches=[*record.launches, Launch(started, os.getpid(), record.budget)],
        **facts,
    )


def end_launch(run: Run, status: Status, seconds: float, *, error: str | None = None, result: Any = None) -> None:
    """Completes the record with how the run ended.

    Args:
        run: The run.
        status: How this launch ended.
        seconds: How long it took.
        error: What went wrong, unless it finished.
        result: What the subtask returned, if it finished.
    """
    record, error = run.record, redacted(error) if error else None
    end = Launch(**vars(record.launches[-1]) | {"ended": _now(), "status": status, "error": error})
    end.result, end.seconds = result, round(seconds, 1)
    if status == "finished":
        with contextlib.suppress(OSError, ValueError):
            end.metrics = read_last_metrics(run.folder)
    launches = [*record.launches[:-1], end]
    run.update(
        # What was finished stays finished: what failed is only the launch.
        status="stopped" if status == "failed" and record.has_finished else status,
        ended=end.ended,
        error=error,
        result=result if status == "finished" else record.result,
        seconds=end.seconds,
        launches=launches,
    )


def command_line() -> str:
    """Returns the command that started this process, ready for a shell."""
    return shlex.join([sys.executable, *sys.argv])


def package_versions() -> dict[str, str]:
    """Returns the versions of the installed packages that can change a result."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def machine() -> Machine:
    """Returns what is known of the machine."""
    return Machine(
        host=socket.gethostname(),
        user=_user(),
        platform=platform.platform(),
        processor=platform.machine(),
        available_cpus=available_cpus(),
        slurm_job_id=os.environ.get("SLURM_JOB_ID"),
    )


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run as a user id that has no name.
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
