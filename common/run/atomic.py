"""Writes files so that a reader, or a crash, never meets half of one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from common.run.leftovers import temporary_name


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
