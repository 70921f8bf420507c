"""What the terminal shows of points that run elsewhere: a live table; without a terminal, a line for each change."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common.launch.point import Point
from common.run.metrics import FIXED_COLUMNS, read_last_metrics
from common.run.record import Record, read_record
from common.utils.text import results_text

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
        return results_text({name: value for name, value in metrics.items() if name not in FIXED_COLUMNS})

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
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        yield Display(redraw=None)
        return
    from common.launch.live_table import live_table  # It loads rich, which nothing else needs here.

    with live_table(jobs) as table:
        yield Display(table.refresh)
