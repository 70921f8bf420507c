"""Reads run folders: what a run is, how it stands, and how far it has come. Changes nothing."""

import functools
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from common.run.finished import settled
from common.run.lock import is_held
from common.run.metrics import FIXED_COLUMNS, read_last_metrics, read_metrics
from common.run.queue import Standing, Task, UnansweredError, has_place_in_queue, standings
from common.run.record import DamagedRecordError, Kind, Launch, Record, read_record
from common.run.table import FIRST_COLUMN

Rows = Sequence[dict[str, float]]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        part: What it has behind it of its budget, from 0 to 1.
        seconds_left: How long the rest takes if it goes on as fast as in this launch; None where that is unknown.
    """

    part: float
    seconds_left: float | None


def progress_of(record: Record, rows: Rows) -> Progress | None:
    """Returns how far a run is by its budget's first limit; None where it has none that tells.

    Args:
        record: The run's record.
        rows: The rows of its metrics.
    """
    timed = [row for row in rows if "time" in row and "step" in row]
    if not any(_part(record, row, {}) is not None for row in timed[-1:]):
        return None
    steps_per = {budget.column: _steps_per(budget.column, timed) for budget in record.engine.budgets if budget.column}
    parts = [_part(record, row, steps_per) or 0.0 for row in timed]
    launched = (seconds_since_1970(record.launches[-1].started) if record.launches else None) or 0.0
    own = [(row["time"], part) for row, part in zip(timed, parts, strict=True) if row["time"] >= launched]
    return Progress(parts[-1], _seconds_left(own))


def seconds_since_1970(moment: str | None) -> float | None:
    """Returns a moment that a record states as a number; None where it states none."""
    try:
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError, OSError):  # Of a year that the machine's clock does not know.
        return None


def _part(record: Record, row: dict[str, float], steps_per: dict[str, float | None]) -> float | None:
    """Returns the part of the budget that a row has behind it.

    Args:
        record: Says what counts towards which limit.
        row: Has a step.
        steps_per: The steps that one more in a column takes, where that is known: a part of it counts, too.
    """
    parts = []
    for budget in record.engine.budgets:
        limit, column = record.budget.get(budget.key), budget.column
        if isinstance(limit, int) and limit > 0 and column in row:
            steps = steps_per.get(column)
            parts.append(((row["step"] / steps if steps else row[column]) + budget.offset) / limit)
    return min(max(parts), 1.0) if parts else None


def _steps_per(column: str, rows: Rows) -> float | None:
    """Returns the steps that one more in a column takes, for example an epoch: by the last row of those before."""
    current = rows[-1].get(column, 0)
    if column == FIRST_COLUMN or not current:
        return None
    return max((row["step"] for row in rows if row.get(column, 0) < current), default=0) / current


def _seconds_left(points: list[tuple[float, float]]) -> float | None:
    """Returns how long the rest takes.

    Args:
        points: Pairs of time and part done, of this launch.
    """
    if len(points) < 2 or points[-1][1] <= points[0][1]:
        return None
    (start, first), (end, last) = points[0], points[-1]
    left = (1 - last) * (end - start) / (last - first)
    return max(0.0, left - (time.time() - end))


State = Literal["queued", "running", "interrupted", "stopped", "failed", "finished", "damaged"]
"""How a run stands: an `interrupted` one says that it runs, but no process does; a `damaged` one cannot be read."""

NOTHING = Record(kind="plain", identity="", budget={}, code={}, packages={}, created_ns=0)
"""What is on record of a damaged run."""

UNREADABLE = (OSError, ValueError, RecursionError)
"""What reading a damaged file raises."""


@dataclass
class Run:
    """A run, a sweep, or a point of a sweep, as its folder shows it.

    Attributes:
        folder: The folder.
        record: What `provenance.json` says; `NOTHING` for a damaged one.
        problem: What is wrong with the folder, or None.
        source: Where its record, configuration and metrics lie: see `common.run.finished`.
    """

    folder: Path
    record: Record
    problem: str | None = None
    source: Path = field(default_factory=Path, compare=False)

    @property
    def is_damaged(self) -> bool:
        """Whether its record cannot be read."""
        return self.record is NOTHING

    @property
    def kind(self) -> Kind | None:
        """What was launched; None where the record cannot be read."""
        return None if self.is_damaged else self.record.kind

    @property
    def task_folder(self) -> Path:
        """The task's folder, which holds the run, or the sweep that it is a point of."""
        return self.folder.parents[1] if self.kind == "point" else self.folder.parent

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints lie."""
        return self.folder / self.record.engine.checkpoints

    @property
    def project(self) -> str:
        """The project's name."""
        return self.task_folder.parent.name

    @property
    def task(self) -> str:
        """The task's name."""
        return self.task_folder.name

    @property
    def title(self) -> str:
        """The timestamp, and a point's number behind it."""
        number = self.folder.name.partition("_")[0]
        return f"{self.folder.parent.name}/{number}" if self.kind == "point" else self.folder.name

    @property
    def identity(self) -> str:
        """The twelve digits that stand for all that the result depends on; empty for a damaged one."""
        return self.record.identity

    @functools.cached_property
    def points(self) -> "list[Run]":
        """A sweep's points, in their order."""
        if self.kind != "sweep":
            return []
        folders = [folder for folder in subfolders(self.folder) if folder.name[0].isdigit()]
        return [read_run(folder) for folder in sorted(folders, key=lambda folder: _leading_number(folder.name))]

    @functools.cached_property
    def num_points(self) -> "Counter[State]":
        """How many of a sweep's points stand how."""
        return Counter(point.state for point in self.points)

    @functools.cached_property
    def state(self) -> State:
        """How the run stands now."""
        if self.is_damaged:
            return "damaged"
        state: State = self.record.status
        if state == "running" and not is_held(self.folder):
            state = "interrupted"
        if state == "queued" and not _may_be_in_queue(self.record):
            state = "interrupted"
        return _state_of_sweep(state, self.num_points) if self.kind == "sweep" else state

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric; none where `metrics.csv` is missing or damaged."""
        try:
            return read_last_metrics(self.source)
        except UNREADABLE as error:
            self.problem = f"metrics.csv cannot be read: {_first_line(error)}"
            return {}

    @property
    def results(self) -> dict[str, float]:
        """The metrics without the columns that only count."""
        return {name: value for name, value in self.metrics.items() if name not in FIXED_COLUMNS}

    @property
    def error(self) -> str | None:
        """What is wrong with the folder, or the error that ended the run, in one line."""
        return self.problem or _first_line(self.record.error or "") or None

    @property
    def created_s(self) -> float:
        """When the folder was made, in seconds since 1970."""
        if not self.is_damaged:
            return self.record.created_ns / 1e9
        try:
            return self.folder.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def seconds(self) -> float | None:
        """For how long it has run, all launches, or all points, together; None where that is unknown."""
        if self.kind == "sweep":
            spans = [point.seconds for point in self.points]
        else:
            spans = [self._seconds_of(launch) for launch in self.record.launches]
        known = [span for span in spans if span is not None]
        return sum(known) if known else None

    @property
    def changes(self) -> dict[str, dict[str, Any]]:
        """What differs from the task's defaults: by key its `default` and its `value`."""
        return self.record.changes

    @functools.cached_property
    def overrides(self) -> dict[str, Any]:
        """The overrides that change the task's defaults, by key; a list of values where a sweep's points differ."""
        if self.kind == "sweep":
            return _overrides_of_points(self.points)
        return self.record.given

    @functools.cached_property
    def progress(self) -> Progress | None:
        """How far an unfinished run is; None where that is unknown."""
        try:
            return progress_of(self.record, read_metrics(self.source))
        except UNREADABLE:
            return None

    def _seconds_of(self, launch: Launch) -> float | None:
        start, end = seconds_since_1970(launch.started), seconds_since_1970(launch.ended)
        if end is None and launch is self.record.launches[-1]:
            end = time.time() if self.state == "running" else self.metrics.get("time")
        return None if start is None or end is None else max(0.0, end - start)


def read_run(folder: Path) -> Run:
    """Reads a run's folder, whatever its condition."""
    source = settled(folder)
    try:
        return Run(folder, read_record(source), source=source)
    except DamagedRecordError as damage:
        return Run(folder, NOTHING, damage.what, source)


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders directly below a folder, hidden ones left out; none where it cannot be read."""
    return [folder / name for name in names_of_subfolders(folder)]


def names_of_subfolders(folder: Path) -> list[str]:
    """Returns the names of the folders directly below a folder; see `subfolders`."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if entry.name[0] != "." and (entry.is_dir(follow_symlinks=False) or _leads_to_folder(entry))
            ]
    except OSError:
        return []


def settings_of_points(points: list[Run]) -> list[dict[str, Any]]:
    """Returns for each point the value of every key that one of them overrides: its own, or the task's default."""
    keys = dict.fromkeys(key for point in points for key in point.overrides)
    defaults = {key: sides.get("default") for point in points for key, sides in point.changes.items()}
    return [{key: point.overrides.get(key, defaults.get(key)) for key in keys} for point in points]


def forget_queue() -> None:
    """Lets SLURM be asked anew."""
    _standings_of.cache_clear()


def _may_be_in_queue(record: Record) -> bool:
    """Returns whether a job still waits or runs; also where SLURM does not say."""
    try:
        return has_place_in_queue(record, lambda jobs: _standings_of(tuple(jobs)))
    except UnansweredError:
        return True


@functools.cache
def _standings_of(job_ids: tuple[int, ...]) -> dict[Task, Standing]:
    return standings(job_ids, num_tries=1)


def _state_of_sweep(own: State, points: "Counter[State]") -> State:
    """Returns how a sweep stands, by its own record and its points'.

    The process that runs a sweep here closes its record; jobs of a cluster leave that to whoever waits for them.
    """
    under_way: tuple[State, ...] = ("running", "queued")
    for state in under_way:
        if points[state]:
            return state
    if own not in ("interrupted", "queued") or not points:
        return own
    return "failed" if points["failed"] else "finished" if set(points) == {"finished"} else own


def _overrides_of_points(points: list[Run]) -> dict[str, Any]:
    """Returns what a sweep's points override, by key: the value, or a list of values where they differ."""
    found: dict[str, list[Any]] = {}
    for settings in settings_of_points([point for point in points if not point.is_damaged]):
        for key, value in settings.items():
            if value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: values if len(values) > 1 else values[0] for key, values in found.items()}


def _leads_to_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False


def _leading_number(name: str) -> tuple[int, str]:
    digits = re.match(r"\d*", name)
    assert digits is not None
    return int(digits[0] or 0), name


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else ""
