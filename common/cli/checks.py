"""What `ai-research doctor` looks at: Python and its packages, the folders, the services."""

import fcntl
import os
import platform
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from common.cli.environment import differences_from, installed_version, locked_versions, unreachable_because
from common.cli.find import all_points, data_path, newest_first, task_folders
from common.errors import ConfigError
from common.run.folder import outputs_root
from common.run.uncommitted import git_state
from common.utils.misc import repository_path
from common.utils.wandb import login_wandb

Verdict = Literal["good", "warning", "fault"]
"""`fault`: a run would fail. `warning`: it would run, but something is not as it should be."""

FEWEST_FREE_BYTES = 200_000_000
FEW_FREE_BYTES = 5_000_000_000
LEAST_SHARED_BYTES = 64_000_000
LITTLE_SHARED_BYTES = 1_000_000_000
MOST_NAMED = 5


@dataclass
class Finding:
    """What a check found.

    Attributes:
        subject: What was looked at.
        verdict: How it is.
        detail: What was seen.
        remedy: What mends it; empty where nothing is wrong.
    """

    subject: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def check_python() -> Iterator[Finding]:
    """Judges Python's version by the one that the project requires."""
    required = _project().get("requires-python", "")
    is_right = Requirement(f"python{required}").specifier.contains(platform.python_version())
    remedy = "" if is_right else f"Make the environment anew: rm -r .venv && make install PYTHON=<a Python {required}>"
    yield Finding(
        "Python", "good" if is_right else "fault", f"{platform.python_version()}, required {required}", remedy
    )


def check_packages() -> Iterator[Finding]:
    """Judges packages by the ranges in pyproject.toml and by the lock; what only some projects need may be missing."""
    remedy = "make install, or pip install --requirement requirements.txt"
    wrong = []
    for line in _project().get("dependencies", []):
        requirement = Requirement(line)
        installed = installed_version(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed or 'is missing'} (required {requirement.specifier})")
    if wrong:
        yield Finding("packages", "fault", "; ".join(wrong), remedy)
    lock = repository_path() / "requirements.txt"
    if not lock.is_file():
        yield Finding("lock", "warning", f"no {lock}", "git checkout requirements.txt")
        return
    others = [difference for difference in differences_from(locked_versions(lock)) if difference.installed is not None]
    named = ", ".join(map(str, others[:MOST_NAMED])) + (", ..." if len(others) > MOST_NAMED else "")
    yield Finding("lock", "warning", named, remedy) if others else Finding("lock", "good", "versions as locked")


def check_torchvision() -> Iterator[Finding]:
    """Judges torchvision by the torch that it was built for."""
    torch, torchvision = installed_version("torch"), installed_version("torchvision")
    if torch is None or torchvision is None:
        return
    needed = [Requirement(line) for line in requires("torchvision") or [] if Requirement(line).name == "torch"]
    is_right = all(one.specifier.contains(torch.partition("+")[0], prereleases=True) for one in needed)
    if is_right:
        yield Finding("torchvision", "good", f"{torchvision} for torch {torch}")
        return
    detail = f"{torchvision} was built for torch{needed[0].specifier}, and torch is {torch}"
    yield Finding("torchvision", "fault", detail, "pip install --no-deps --requirement requirements.txt")


def check_outputs() -> Iterator[Finding]:
    """Tries the folder of outputs: writing, locking, free space."""
    folder = data_path()
    remedy = "Set AI_RESEARCH_PATH to a folder that you may write to."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            yield _locking(Path(file.name), folder)
    except OSError as error:
        full = "Make room: ai-research clean" if error.errno == 28 else remedy
        yield Finding("outputs", "fault", f"{folder} cannot be written to: {error.strerror}", full)
        return
    usage = shutil.disk_usage(folder)
    detail = f"{folder}, {usage.free / 1e9:.1f} GB free"
    verdict: Verdict = (
        "fault" if usage.free < FEWEST_FREE_BYTES else "warning" if usage.free < FEW_FREE_BYTES else "good"
    )
    yield Finding("outputs", verdict, detail, "" if verdict == "good" else "Make room: ai-research clean")


def check_interrupted_runs() -> Iterator[Finding]:
    """Looks for runs whose lock names a process that is gone."""
    folders = task_folders() if data_path().is_dir() else []
    stale = [run for run in all_points(newest_first(folders)) if run.state == "interrupted"]
    if stale:
        names = ", ".join(f"{run.task}/{run.title}" for run in stale[:MOST_NAMED])
        remedy = f"ai-research show {stale[0].folder} (how to continue it), or ai-research clean"
        yield Finding("runs", "warning", f"{len(stale)} say that they run, but no process does: {names}", remedy)
    else:
        yield Finding("runs", "good", "none that was killed and left")


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:  # noqa: S108  # Looked at, not used.
    """Looks at the space through which data workers pass batches."""
    remedy = "In a container: -v /dev/shm:/dev/shm or --shm-size 8g; else set fixed_per_device_num_workers to 0."
    if not folder.is_dir():
        yield Finding("shared memory", "fault", f"there is no {folder}", remedy)
        return
    free = shutil.disk_usage(folder).free
    verdict: Verdict = "fault" if free < LEAST_SHARED_BYTES else "warning" if free < LITTLE_SHARED_BYTES else "good"
    detail = f"{folder}, {free / 1e9:.2f} GB free"
    yield Finding("shared memory", verdict, detail, "" if verdict == "good" else remedy)


def check_wandb() -> Iterator[Finding]:
    """Looks for a W&B key and, where there is one, for the server."""
    os.environ["AI_RESEARCH_PATH"] = str(outputs_root())
    try:
        has_key = login_wandb()
    except (ConfigError, OSError) as error:
        yield Finding("W&B", "fault", str(error), "Put the key, one line, into WANDB_KEY.txt, and chmod 600 it.")
        return
    if not has_key:
        yield Finding("W&B", "warning", "no key, so runs log offline", "wandb login, or WANDB_KEY.txt")
        return
    reason = unreachable_because()
    if reason is None:
        yield Finding("W&B", "good", "there is a key, and the server answers")
    else:
        yield Finding("W&B", "warning", f"{reason}, so runs log offline", "Later, with a network: ai-research sync")


def check_git() -> Iterator[Finding]:
    """Takes the state of the code as a run does, and says what of it would be on record."""
    state = git_state(repository_path(), repository_path() / "projects")
    if not state.commit:
        remedy = "Install git, and clone the repository"
        yield Finding("git", "warning", f"runs cannot record their code: {'; '.join(state.problems)}", remedy)
        return
    changed = len(state.changed) + len(state.deleted)
    detail = f"runs record their commit ({state.commit[:12]}) and what was changed besides ({changed} files)"
    if state.problems:
        detail += f", but not: {'; '.join(state.problems)}"
    yield Finding(
        "git", "warning" if state.problems else "good", detail, "git add, or git commit" if state.problems else ""
    )


def _locking(path: Path, folder: Path) -> Finding:
    """Tries whether a second open file is refused the lock that a first one holds."""
    with path.open() as first, path.open() as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Finding("locks", "good", "one writer per folder")
        except OSError as error:
            detail = f"{folder} has no file locks: {error.strerror}"
            return Finding("locks", "warning", detail, "Put AI_RESEARCH_PATH on a file system that has them")
    return Finding("locks", "warning", f"{folder} locks nothing", "Put AI_RESEARCH_PATH on a file system that does")


def _project() -> dict[str, Any]:
    path = repository_path() / "pyproject.toml"
    project: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))["project"] if path.is_file() else {}
    return project
