"""What the standard output is, and how much fits on a line of it."""

import contextlib
import io
import os
import sys
from typing import Any

COLUMNS, ROWS = 80, 24
"""The size of a terminal that tells none, as those of some containers and remote sessions."""


def is_terminal() -> bool:
    """Returns whether what is printed can be drawn over."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def show_what_can_be_shown() -> None:
    """Lets what is printed be replaced where the terminal, or the locale, has no such character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):  # A pipe that somebody opened at a place in it cannot be asked for it.
                stream.reconfigure(errors="replace")


def screen_size(stream: Any) -> tuple[int, int]:
    """Returns the columns and rows of the terminal behind a stream."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # No terminal, or no file at all.
        columns, rows = 0, 0
    return columns or COLUMNS, rows or ROWS
