"""What the terminal shows of points that run elsewhere: a line for each change, and one line that counts."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.launch.point import Point
from common.run.metrics import FILE_NAME as METRICS
from common.run.metrics import read_metrics

State = Literal["pending", "running", "finished", "failed"]

OVER: tuple[State, ...] = ("finished", "failed")


@dataclass
class Job:
    """What runs, or will run, for a point.

    Attributes:
        point: The point.
        folder: Its own folder.
    """

    point: Point
    folder: Path

    @property
    def title(self) -> str:
        """What tells it from the others."""
        return " ".join(self.point.own_overrides) or self.folder.name


def figures_of(job: Job) -> str:
    """Returns the last metrics that a job has written, ready to be appended."""
    rows = read_metrics(job.folder) if (job.folder / METRICS).is_file() else []
    for name in ("test/loss", "val/loss", "train/loss"):
        found = [row[name] for row in rows if name in row]
        if found:
            return f"  {name} {found[-1]:.4f}"
    return ""


def tell_state(job: Job, state: State) -> None:
    """Prints how a job stands now."""
    print(f"{_start_of_line()}{job.title}: {state}{figures_of(job)}", flush=True)


def show_counts(states: Mapping[int, State], jobs: Mapping[int, Job]) -> None:
    """Rewrites the line that counts, on a terminal.

    Args:
        states: How each job stands.
        jobs: The jobs, under the same numbers.
    """
    if sys.stdout.isatty():
        counted = Counter(states.values())
        names: tuple[State, ...] = ("pending", "running", *OVER)
        running = [jobs[number] for number, state in states.items() if state == "running"]
        last = f"  {running[0].title}:{figures_of(running[0])}" if running else ""
        line = " · ".join(f"{counted[name]} {name}" for name in names)
        print(f"{_start_of_line()}{line}{last}", end="", flush=True)


def _start_of_line() -> str:
    """Returns what clears the line that counts, on a terminal."""
    return "\r\033[K" if sys.stdout.isatty() else ""
