"""What the code of a run is: which files are recorded and copied, which of them never are, and their fingerprints."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.run.identity import LENGTH

CODE_TYPES = frozenset(
    {
        *(".py", ".pyi", ".pyx", ".pxd", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".sh", ".bash"),
        *(".yaml", ".yml", ".toml", ".cfg", ".ini", ".json", ".mk", ".def"),
    }
)
"""How the names of code and configuration end. Of what git does not track, only such files are recorded."""

CODE_NAMES = frozenset({"Makefile", "Dockerfile", ".gitignore", ".gitattributes", ".gitmodules"})

NOTES = frozenset({".md", ".rst", ".log", ".bak", ".orig", ".rej", ".swp", ".tmp"})
"""How the names of texts end that a person or an editor leaves: no program reads them."""


def is_code(name: str) -> bool:
    """Returns whether a file is code or configuration by its name."""
    path = Path(name)
    return path.suffix.lower() in CODE_TYPES or path.name in CODE_NAMES


def is_note(name: str) -> bool:
    """Returns whether a file is a text that no program reads, by its name."""
    return Path(name).suffix.lower() in NOTES or name.endswith("~")


def running_places(project: Path, root: Path) -> list[Path]:
    """Returns what runs, whatever git says of it: folders, and a file; a project outside of the repository is none."""
    folders = [root / "common", root / "hydra_plugins", root / "projects" / "__init__.py", project]
    return [folder for folder in folders if folder.is_relative_to(root) and folder != root]


def files_below(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, or the one file, each by the path that leads there from the folder.

    Caches, hidden folders, and those that cannot be read are passed over. A link to a folder is followed if that holds
    Python files, and the path does not lead through it already; any other leads to data.
    """
    if folder.is_file():
        yield folder
    yield from _files_below(folder, ())


def _files_below(folder: Path, passed: tuple[str, ...]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in passed:
        return
    for entry in _entries(folder):
        if not _is(entry, "is_dir"):
            if _is(entry, "is_file") and entry.name != ".git":  # A submodule has a file of that name.
                yield Path(entry.path)
        elif entry.name != "__pycache__" and entry.name[0] != "." and not is_data(entry):
            yield from _files_below(Path(entry.path), (*passed, real))


def is_data(entry: "os.DirEntry[str]") -> bool:
    """Returns whether a folder is a link that leads to data: no module is imported from there."""
    return entry.is_symlink() and not any(one.name.endswith(".py") for one in _entries(entry.path))


def _entries(folder: str | Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is(entry: "os.DirEntry[str]", kind: str) -> bool:
    try:
        return bool(getattr(entry, kind)())
    except OSError:  # A link that leads to itself, or to where this user may not look.
        return False


def code_fingerprints(folders: Sequence[Path], root: Path) -> dict[str, str]:
    """Returns a fingerprint of each Python file that a run may execute; tests and `common/cli` are none.

    Args:
        folders: Searched with all below, behind links too.
        root: Paths are given relative to it, where they lie below it.
    """
    files = sorted(
        path
        for folder in folders
        for path in files_below(folder)
        if path.suffix == ".py"
        and not path.name.endswith("_test.py")
        and not path.is_relative_to(root / "common" / "cli")
    )
    return {str(path.relative_to(root) if path.is_relative_to(root) else path): _fingerprint(path) for path in files}


def _fingerprint(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:LENGTH]
    except OSError:  # What this user may not read does not run either.
        return ""
