"""The live table of jobs: a row for each that fits the terminal, and a line below that counts all."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import get_args

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.launch.display import Job, State
from common.utils.table import make_table
from common.utils.text import duration_text, short_names

REFRESH_S = 1.0
"""How long a table stays at least before it is drawn anew."""

MOST_ROWS = 20
"""How many rows there are at most, on however high a terminal."""

FEW_PENDING = 3
"""How many of the jobs that wait have a row where there are more jobs than rows."""

OTHER_LINES = 6
"""Lines of the terminal that are not rows: the table's head and frame, the count, and one to write on."""

STYLES: dict[State, str] = {
    "pending": "cyan",
    "running": "bold cyan",
    "finished": "green",
    "failed": "bold red",
    "stopped": "yellow",
}


class LiveTable:
    """A table of jobs that is drawn anew in its place.

    Args:
        jobs: What it shows.
        live: Draws it.
    """

    def __init__(self, jobs: Sequence[Job], live: Live) -> None:
        self._jobs = jobs
        self._live = live
        self._drawn_s = 0.0

    def refresh(self) -> None:
        """Draws the jobs as they stand now, unless they were drawn just before."""
        if time.monotonic() - self._drawn_s >= REFRESH_S:
            self.draw()

    def draw(self) -> None:
        """Draws the jobs as they stand now."""
        self._live.update(view_of(self._jobs, self._live.console), refresh=True)
        self._drawn_s = time.monotonic()


@contextmanager
def live_table(jobs: Sequence[Job]) -> Iterator[LiveTable]:
    """Shows a table at the bottom of the terminal while the block runs; what is printed meanwhile stands above it.

    Args:
        jobs: What it shows.
    """
    with Live(console=Console(), auto_refresh=False) as live:
        live.console.show_cursor()  # A second Ctrl-C ends this process at once, and would leave it hidden.
        table = LiveTable(jobs, live)
        table.draw()
        try:
            yield table
        finally:
            table.draw()


def view_of(jobs: Sequence[Job], console: Console) -> Group:
    """Returns the table of jobs with the line below it, no higher and no wider than the terminal."""
    shown = rows_for(jobs, min(MOST_ROWS, max(1, console.height - OTHER_LINES)))
    counted = Counter(job.state for job in jobs)
    line = " · ".join(f"{counted[state]} {state}" for state in get_args(State) if counted[state] or state != "stopped")
    hidden = f"; {len(jobs) - len(shown)} not listed" if len(shown) < len(jobs) else ""
    return Group(table_of(shown, console.width), Text(line + hidden, style="dim", no_wrap=True))


def rows_for(jobs: Sequence[Job], most: int) -> list[Job]:
    """Returns the jobs that have a row: where not all fit, those that run, those that failed, and a few that wait.

    Args:
        jobs: All jobs.
        most: How many rows there are.

    Returns:
        In the order given.
    """
    if len(jobs) <= most:
        return list(jobs)
    waiting = islice((job for job in jobs if job.state == "pending"), FEW_PENDING)
    chosen = [*_in_state(jobs, "running"), *_in_state(jobs, "failed"), *waiting][:most]
    return [job for job in jobs if job in chosen]


def table_of(jobs: Sequence[Job], width: int) -> Table:
    """Returns a table with a row of one line for each job.

    Args:
        jobs: What is shown.
        width: The terminal's, in characters; what is too long for it is cut off.
    """
    rows: list[list[str | Text]] = [
        [_title_of(job), Text(job.state, STYLES[job.state]), duration_text(job.seconds), job.figures] for job in jobs
    ]
    table = make_table("point", "state", "#time", "last metrics", rows=rows)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    table.columns[0].max_width = max(1, width // 2)
    table.columns[-1].ratio, table.expand = 1, True  # The last one has what the others leave.
    return table


def _in_state(jobs: Sequence[Job], state: State) -> list[Job]:
    return [job for job in jobs if job.state == state]


def _title_of(job: Job) -> str:
    """Returns a job's title with its keys as short as they can be."""
    keys = [override.partition("=")[0] for override in job.point.own_overrides]
    short = short_names(keys)
    values = [override.partition("=")[2] for override in job.point.own_overrides]
    return " ".join(f"{short[key]}={value}" for key, value in zip(keys, values, strict=True)) or job.title
