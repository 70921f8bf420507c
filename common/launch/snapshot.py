"""A copy of the code as it is when jobs are submitted or a sweep begins: what runs later is what was there then."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.launch.role import JOB_VARIABLE
from common.run.files import check_files
from common.run.provenance import git_state
from common.utils.misc import repository_path
from common.utils.runner import get_absolute_project_path

FOLDER_NAME = ".code"

LARGEST_BYTES = 10_000_000
"""A larger file is data: it stays where it is."""


def snapshot_facts(folder: Path, checkpoints: str) -> dict[str, Any]:
    """Copies the code into a folder, and returns what the records of the jobs that run from it say of it.

    Args:
        folder: A run's, or a sweep's.
        checkpoints: The name of the one for checkpoints in it.

    Raises:
        ConfigError: something in the folder is not what its name says; nothing was changed.
    """
    check_files(folder, checkpoints)
    return {"git": git_state(repository_path()), "snapshot": take_snapshot(folder, get_absolute_project_path())}


def take_snapshot(folder: Path, project: Path) -> str:
    """Copies the repository's code: what git tracks or does not ignore, and what runs in any case.

    Args:
        folder: Gets the copy, as `.code/`; an older one is replaced.
        project: The running project's folder.

    Returns:
        The SHA-256 of all names and contents, which tells one state of the code from another.
    """
    digest = hashlib.sha256()
    shutil.rmtree(folder / FOLDER_NAME, ignore_errors=True)
    for path in sorted(_files(project)):
        content = path.read_bytes()
        name = path.relative_to(repository_path())
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        copy = folder / FOLDER_NAME / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        shutil.copymode(path, copy)
    return digest.hexdigest()


def program_in(code: Path) -> Path:
    """Returns the running program's file in a copy of the code."""
    return code / get_absolute_project_path().relative_to(repository_path()) / Path(sys.argv[0]).name


def variables_of_job(own_folder: Path, code: Path) -> dict[str, str]:
    """Returns the environment variables that make a command a job: it runs from a copy of the code, in its folder."""
    searched = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "AI_RESEARCH_PATH": os.environ["AI_RESEARCH_PATH"],
        "PYTHONPATH": os.pathsep.join(searched),
        JOB_VARIABLE: str(own_folder),
    }


@contextmanager
def imports_from(code: Path) -> Iterator[None]:
    """Lets this process import from a copy of the code what the block imports of the repository.

    What was imported before stays as it is.

    Args:
        code: The copy.
    """
    _redirect_imports(repository_path(), code)
    try:
        yield
    finally:
        _redirect_imports(code, repository_path())


def _redirect_imports(source: Path, target: Path) -> None:
    """Replaces, wherever Python looks for modules, folders of one copy of the code by those of another."""
    # Not `getattr`: a postponed module, such as torch's compiler, would be loaded to answer.
    packages = [getattr(module, "__dict__", {}).get("__path__") for module in list(sys.modules.values())]
    for places in [sys.path, *(package for package in packages if isinstance(package, list))]:
        for index, place in enumerate(places):
            if place == str(source) or place.startswith(f"{source}{os.sep}"):
                moved = target / Path(place).relative_to(source)
                places[index] = str(moved) if moved.is_dir() else place


def _files(project: Path) -> set[Path]:
    """Returns what belongs to the code; without git (an image, an unpacked archive) that is what runs."""
    root = repository_path()
    found = _listed_by_git(root)
    for folder in (root / "common", root / "hydra_plugins", root / "projects" / "__init__.py", project):
        if folder.is_relative_to(root):
            found |= {path for path in [folder, *folder.rglob("*")] if "__pycache__" not in path.parts}
    return {path for path in found if path.is_file() and path.stat().st_size <= LARGEST_BYTES}


def _listed_by_git(root: Path) -> set[Path]:
    """Returns what git tracks or does not ignore; nothing where there is no git, or no work tree."""
    if shutil.which("git") is None:
        return set()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
    return {root / name for name in listed.stdout.split("\0") if name}
