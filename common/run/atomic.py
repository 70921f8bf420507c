"""Writes files so that a reader, or a crash, never meets half of one, and removes what dead processes leave half made.

That is a file or a folder under a name that says who made it. One of a process of this machine is left over when that
process is gone. Of another machine's processes nothing is known here: theirs are left over when they were not touched
for `ABANDONED_S`.
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from common.run.process import is_stamp_of_dead, this_process

ABANDONED_S = 3600.0
NEW, REMOVED = "new", "removed"
"""What a folder is until it has its name, and when it is about to go."""

_FOLDER = re.compile(rf"\.({NEW}|{REMOVED})-(?P<stamp>[^+]*)(\+.*)?")
_FILE = re.compile(r"\..+\.(?P<stamp>\d[^+]*)\.tmp")


def temporary_name(name: str) -> str:
    """Returns under which name a file is written until it is whole."""
    return f".{name}.{this_process().stamp}.tmp"


def folder_prefix(state: str) -> str:
    """Returns how the name of a folder begins that is not, or no longer, a run's."""
    return f".{state}-{this_process().stamp}+"


def leftovers_in(folder: Path) -> Iterator[Path]:
    """Yields what dead processes have left directly below a folder."""
    for path in _half_made(folder):
        with contextlib.suppress(OSError):  # Somebody else has just removed it.
            if _is_left(path):
                yield path


def remove_leftovers(folder: Path, *, is_locked: bool = False) -> None:
    """Removes what dead processes have left directly below a folder.

    Args:
        folder: The folder.
        is_locked: Whether this process alone may write there: all that is half made then is left over.
    """
    for path in list(_half_made(folder) if is_locked else leftovers_in(folder)):
        remove(path)


def remove(path: Path) -> bool:
    """Removes a file, or a folder with all below, without following links; returns whether it is gone."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return not os.path.lexists(path)


def _half_made(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError:
        return
    yield from (folder / name for name in names if _FOLDER.fullmatch(name) or _FILE.fullmatch(name))


def _is_left(path: Path) -> bool:
    match = _FOLDER.fullmatch(path.name) or _FILE.fullmatch(path.name)
    assert match is not None
    is_dead = is_stamp_of_dead(match["stamp"])
    return time.time() - path.lstat().st_mtime > ABANDONED_S if is_dead is None else is_dead


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], before_renaming: Callable[[], object] = bool
) -> None:
    """Writes to a temporary name beside `path`, flushes to disk, then renames; a link at `path` is replaced.

    Args:
        path: Where the file shall stand, whole or not at all.
        write: Writes the content to the open file.
        before_renaming: Is called when the content is safe, and what stood at `path` before still stands there.

    Raises:
        OSError: the content could not be written; what stood at `path` before still stands there.
    """
    temporary = path.with_name(temporary_name(path.name))
    try:
        with os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        before_renaming()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text_atomically(path: Path, text: str) -> None:
    """Writes a text file; see `write_atomically`."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes a file; see `write_atomically`."""
    write_atomically(path, lambda file: file.write(content))
