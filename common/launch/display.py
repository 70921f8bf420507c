"""What the terminal shows of points that run elsewhere: a live table; without a terminal, a line for each change.

The table has a row for each job that fits the terminal, and a line below that counts all.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.launch.point import Point
from common.run.metrics import FIXED_COLUMNS, read_last_metrics, results_text
from common.run.record import Record, read_record
from common.utils.table import make_table
from common.utils.terminal import is_terminal
from common.utils.text import duration_text, short_names

State = Literal["pending", "running", "finished", "failed", "stopped"]
"""`stopped`: it saved and left, as it was asked to, or was taken out of a cluster's queue."""

OVER: tuple[State, ...] = ("finished", "failed", "stopped")


@dataclass(eq=False)
class Job:
    """What runs, or will run, for a point.

    Attributes:
        point: The point.
        folder: Its own folder; the sweep's, as long as it has none.
        state: How it stands.
        since_s: When that began, by the clock `time.monotonic`.
        ran_s: For how many seconds it ran before that.
    """

    point: Point
    folder: Path
    state: State = "pending"
    since_s: float = field(default_factory=time.monotonic)
    ran_s: float = 0.0

    @property
    def title(self) -> str:
        """What tells it from the others."""
        return " ".join(self.point.own_overrides) or self.folder.name

    @property
    def record(self) -> Record:
        """What its folder says of it."""
        return read_record(self.folder)

    @property
    def is_finished(self) -> bool:
        """Whether its run is finished, as far as was asked for: what was finished earlier stays so where it failed."""
        return self.record.is_finished_at(self.point.record.budget)

    @property
    def figures(self) -> str:
        """The last metrics that it has written, for people; empty where there are none."""
        try:
            metrics = read_last_metrics(self.folder)
        except (OSError, ValueError):  # A network's file system may take a file away that is being replaced.
            return ""
        results = {name: value for name, value in metrics.items() if name not in FIXED_COLUMNS}
        return results_text(results, self.point.engine.results)

    @property
    def seconds(self) -> float:
        """For how long it has been waiting, as long as it is pending; else for how long it has run."""
        current = time.monotonic() - self.since_s
        return {"pending": current, "running": self.ran_s + current}.get(self.state, self.ran_s)

    def enter(self, state: State) -> None:
        """Notes how it stands from now on."""
        now = time.monotonic()
        if self.state == "running":
            self.ran_s += now - self.since_s
        self.state, self.since_s = state, now


class Display:
    """Shows how jobs stand.

    Args:
        redraw: Draws them all on a terminal; None: a line is printed for each change.
    """

    def __init__(self, redraw: Callable[[], None] | None) -> None:
        self._redraw = redraw

    def tell(self, job: Job, state: State) -> None:
        """Notes and shows that a job stands differently now."""
        job.enter(state)
        if self._redraw is None:
            print(f"{job.title}: {state}  {job.figures}".rstrip(), flush=True)

    def refresh(self) -> None:
        """Shows what has changed since, on a terminal."""
        if self._redraw is not None:
            self._redraw()


@contextmanager
def displayed(jobs: Sequence[Job]) -> Iterator[Display]:
    """Shows jobs while the block runs.

    Args:
        jobs: All that are to be shown, whether or not they have begun.
    """
    if not is_terminal():
        yield Display(redraw=None)
        return
    with live_table(jobs) as table:
        yield Display(table.refresh)


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
