"""What the standard output is, and how much fits on a line of it."""

import os
import sys
from typing import Any

COLUMNS, ROWS = 80, 24
"""The size of a terminal that tells none, as those of some containers and remote sessions."""


def is_terminal() -> bool:
    """Returns whether what is printed can be drawn over."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def screen_size(stream: Any) -> tuple[int, int]:
    """Returns the columns and rows of the terminal behind a stream."""
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):  # No terminal, or no file at all.
        columns, rows = 0, 0
    return columns or COLUMNS, rows or ROWS
