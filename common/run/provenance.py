"""`provenance.json`: where a run came from, and how it ended."""

import contextlib
import getpass
import json
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
from typing import Any, Literal

from common.run.atomic import write_text_atomically
from common.utils.misc import available_cpus, repository_path

FILE_NAME = "provenance.json"

Status = Literal["queued", "running", "finished", "stopped", "failed"]
"""How a run stands: `queued` in a cluster, `stopped` by a person or a signal, `failed` by an error."""

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


class Provenance:
    """The record of one run, written whenever it changes.

    Args:
        folder: The run's folder.
        record: What is on record already: an earlier launch's, when a run continues.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.path = folder / FILE_NAME
        self.record = record

    def start(self, **facts: Any) -> None:
        """Writes that the run begins, or goes on, now.

        Args:
            **facts: What only the caller knows, such as the seed and the data that is used.
        """
        self.before = self.path.read_text() if self.path.is_file() else ""
        self.record |= {
            "status": "running",
            "command": redacted(command_line()),
            "working_directory": str(Path.cwd()),
            "started": self.record.get("started") or _now(),
            "ended": None,
            "error": None,
            **facts,
            # A job runs from a copy of the code that was submitted, and of that the record knows already.
            "git": self.record["git"] if "snapshot" in self.record else git_state(repository_path()),
            "python": platform.python_version(),
            "machine": machine(),
        }
        self.record["launches"] = [*self.record.get("launches", []), {"started": _now(), "pid": os.getpid()}]
        self.write()

    def end(self, status: Status, error: str | None = None, **facts: Any) -> None:
        """Completes the record with how the run ended.

        Args:
            status: The run's last state.
            error: What went wrong, for a failed run.
            **facts: Results, such as the final metrics.
        """
        self.record |= {"status": status, "ended": _now(), "error": redacted(error) if error else None, **facts}
        self.record["launches"][-1] |= {"ended": _now(), "status": status}
        self.write()

    def take_back(self) -> None:
        """Puts back what was on record before this launch, which has changed nothing."""
        write_text_atomically(self.path, self.before)

    def write(self) -> None:
        """Writes the record."""
        write_text_atomically(self.path, json.dumps(self.record, indent=2, default=str) + "\n")


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


def machine() -> dict[str, Any]:
    """Returns what is known of the machine."""
    return {
        "host": socket.gethostname(),
        "user": _user(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "available_cpus": available_cpus(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
    }


def git_state(repository: Path) -> dict[str, Any] | None:
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
    return {
        "commit": commit.strip(),
        "branch": (_git(repository, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "uncommitted_diff": redacted(_uncommitted_diff(repository)),
    }


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
