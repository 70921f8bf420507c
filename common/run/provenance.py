"""Where a run came from, and how its launches ended: what goes on record as a launch starts and ends."""

import contextlib
import getpass
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.run.continuation import Run
from common.run.metrics import read_last_metrics
from common.run.record import Git, Launch, Machine, Status
from common.utils.misc import available_cpus, repository_path

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
        **facts: What only the caller knows: the seed, the data that is used, the origin.
    """
    record, started = run.record, _now()
    run.update(
        status="running",
        command=redacted(command_line()),
        working_directory=str(Path.cwd()),
        started=record.started or started,
        ended=None,
        error=None,
        # A job runs from a copy of the code that was submitted, and of that the record knows already.
        git=git_state(repository_path()) if record.snapshot is None else record.git,
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


def redacted(text: str) -> str:
    """Returns a text without the W&B key, should somebody have typed it."""
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "<WANDB_API_KEY>") if key else text


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


def git_state(repository: Path) -> Git | None:
    """Returns the commit, the branch and the whole uncommitted difference, new files included.

    The difference is taken through a copy of the index, so that the repository itself is not touched.

    Args:
        repository: A git work tree.

    Returns:
        None where there is no git, or no commit to compare with.
    """
    if shutil.which("git") is None:
        return None
    commit = _git(repository, "rev-parse", "HEAD")
    if commit is None:
        return None
    return Git(
        commit=commit.strip(),
        branch=(_git(repository, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        uncommitted_diff=redacted(_uncommitted_diff(repository)),
    )


def _uncommitted_diff(repository: Path) -> str:
    index = _git(repository, "rev-parse", "--git-path", "index")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        if index is not None and (repository / index.strip()).is_file():
            shutil.copy(repository / index.strip(), copy)
        environment = {
            **os.environ,
            "GIT_INDEX_FILE": str(copy),
            "GIT_OBJECT_DIRECTORY": scratch,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(
                repository / (_git(repository, "rev-parse", "--git-path", "objects") or "").strip()
            ),
        }
        _git(repository, "add", "--all", environment=environment)
        return _git(repository, "diff", "--cached", "--binary", "HEAD", environment=environment) or ""


def _git(repository: Path, *arguments: str, environment: dict[str, str] | None = None) -> str | None:
    result = subprocess.run(
        ["git", *arguments],
        cwd=repository,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=environment,
        check=False,
    )
    return result.stdout if result.returncode == 0 else None


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run as a user id that has no name.
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
