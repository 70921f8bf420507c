"""A copy of the code as it is when jobs are submitted or a sweep begins: what runs later is what was there then."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.launch.code_state import CodeState
from common.launch.role import JOB_VARIABLE
from common.run.files import check_files
from common.run.keys import is_private, without_keys
from common.run.listing import PRIVATE, Listing, list_code
from common.utils.misc import repository_path
from common.utils.runner import get_absolute_project_path

FOLDER_NAME = ".code"

LARGEST_BYTES = 10_000_000
"""A larger file is data: it stays where it is."""

MOST_DATA_BYTES = 100_000_000
"""What is copied of data that git does not track, in the folders that run."""


def list_for_copy() -> Listing:
    """Returns the files that the copy will have.

    Raises:
        ConfigError: a module that this process has imported from the repository is not among them.
    """
    root = repository_path()
    listing = list_code(root, get_absolute_project_path())
    leave_out(listing)
    listed = {os.path.realpath(root / name) for name in _names(listing)}
    top = f"{os.path.realpath(root)}{os.sep}"
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__dict__", {}).get("__file__")  # Not `getattr`: see `_redirect_imports`.
        real = os.path.realpath(file) if isinstance(file, str) else ""
        if real.startswith(top) and real not in listed and not _is_installed(real.removeprefix(top)):
            raise ConfigError(
                f"The module {name} ({file}) would not be in the copy of the code that a sweep or a job runs from: git "
                "does not track it, and it lies outside of common/ and the project. git add it, or move it there."
            )
    return listing


def snapshot_facts(folder: Path, checkpoints: str, listing: Listing, state: CodeState | None) -> dict[str, Any]:
    """Copies the code into a folder, and returns what the records of the jobs that run from it say of it.

    Args:
        folder: The run's or the sweep's.
        checkpoints: The name of the one for checkpoints in it.
        listing: The files to copy.
        state: The state of the code.

    Raises:
        ConfigError: something in the folder is not what its name says; nothing was changed.
    """
    check_files(folder, checkpoints)
    git = None if state is None else state.get()
    for line in listing.left_out.lines():
        if git is None or line not in git.problems:  # What is not on record either was said.
            print(f"Not in the copy of the code: {line}.", flush=True)
    return {"snapshot": take_snapshot(folder, listing)} | ({} if git is None else {"git": git})


def take_snapshot(folder: Path, listing: Listing) -> str:
    """Copies files of the repository, those behind links that leave it in the place of the links, and without keys.

    Args:
        folder: Gets the copy, as `.code/`; an older one is replaced.
        listing: The files to copy.

    Returns:
        The SHA-256 of all names and contents, which tells one state of the code from another.
    """
    digest, code = hashlib.sha256(), folder / FOLDER_NAME
    shutil.rmtree(code, ignore_errors=True)
    code.mkdir()
    links = []
    for name in sorted(_names(listing), key=Path):
        source = listing.root / name
        if source.is_symlink() and name not in listing.behind_links:
            links.append(name)
        elif source.is_file():
            content = without_keys(source.read_bytes())
            digest.update(os.fsencode(f"{name}\0{len(content)}\0") + content)
            _write(code / name, content, is_program=os.access(source, os.X_OK))
    for name in links:  # Last: a copied file is not written through one.
        target = _link_in_copy(listing.root / name, code / name)
        digest.update(os.fsencode(f"{name}\0{target}\0"))
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


def _names(listing: Listing) -> set[str]:
    return {*listing.tracked, *listing.code, *listing.data}


def leave_out(listing: Listing) -> None:
    """Takes out of a list what holds keys, and what is too large."""
    left_bytes = MOST_DATA_BYTES
    for name in sorted(_names(listing)):
        try:
            size = (listing.root / name).stat().st_size
        except OSError:  # A link that leads nowhere, or a file that was deleted.
            continue
        reason = PRIVATE if is_private(name) else f"larger than {LARGEST_BYTES / 1e6:.0f} MB"
        if not is_private(name) and size <= LARGEST_BYTES:
            left_bytes -= size if name in listing.data else 0
            if name not in listing.data or left_bytes >= 0:
                continue
            reason = f"not tracked, and beyond {MOST_DATA_BYTES / 1e6:.0f} MB of data together"
        listing.left_out.add(reason, name)
        listing.tracked.discard(name)
        listing.code.pop(name, None)
        listing.data.pop(name, None)


def _write(path: Path, content: bytes, *, is_program: bool) -> None:
    """Writes a file of the copy; who else may read it is for this process's umask to say."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if is_program else 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _link_in_copy(source: Path, copy: Path) -> str:
    """Makes a link as in the repository; where that would lead to nothing in the copy, it leads into the repository."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    target = source.readlink()
    if target.is_absolute() or not (copy.parent / target).exists():
        target = source.parent / target
    copy.symlink_to(target)
    return str(target)


def _is_installed(name: str) -> bool:
    """Returns whether a file below the repository is no part of it but of a Python environment within it."""
    return "site-packages" in Path(name).parts or Path(name).parts[0].startswith(".")
