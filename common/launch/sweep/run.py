"""A sweep from its first point to its last, in whatever way its points are run.

Its folder is chosen once per command, the same again for the same sweep, with a folder in it for each point. It leaves
a table beside them, `sweep.csv`, and a plot of the result over each swept key.
"""

import contextlib
import csv
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from common.errors import RunError, RunStoppedError
from common.launch.code_state import CodeState
from common.launch.point import Command, Composer, Point
from common.launch.snapshot import list_for_copy, snapshot_facts
from common.launch.sweep.search import Outcome, Search, outcome_of
from common.run.atomic import write_text_atomically
from common.run.continuation import Earlier, Run, choose_folder, earlier_runs, runs_below, take_over
from common.run.folder import name_of_point
from common.run.identity import LENGTH
from common.run.plots import plot_sweep
from common.run.provenance import end_launch, start_launch
from common.run.record import Record, Status, read_record, write_record

TABLE_NAME = "sweep.csv"
PLOT_NAME = "sweep.png"


def report(folder: Path, points: Sequence[Point], outcomes: Mapping[int, Outcome]) -> None:
    """Prints and writes down how each point ended.

    Args:
        folder: The sweep's folder.
        points: The sweep's points.
        outcomes: How each ended, by index.
    """
    points = sorted(points, key=lambda point: point.index)
    keys, rows = _keys_of(points), _rows(points, outcomes)
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_text_atomically(folder / TABLE_NAME, text.getvalue())
    print(f"\n{_aligned(rows)}\n\n  folder  {folder}\n  table   {TABLE_NAME}")
    results = {index: _number(outcome.result) for index, outcome in outcomes.items()}
    drawn = [point for point in points if math.isfinite(results[point.index])]
    if len(drawn) > 1:
        values_of_keys = {key: [_values_of(point).get(key, "") for point in drawn] for key in keys}
        plot_sweep(folder / PLOT_NAME, values_of_keys, [results[point.index] for point in drawn])
        print(f"  plot    {PLOT_NAME}")


def table_of(points: Sequence[Point], outcomes: Mapping[int, Outcome]) -> str:
    """Returns how each point ended, for people."""
    return _aligned(_rows(sorted(points, key=lambda point: point.index), outcomes))


def describe_failures(points: Sequence[Point], outcomes: Mapping[int, Outcome], task: str) -> str | None:
    """Returns which points failed, with their errors and logs, or None where none did.

    Args:
        points: The sweep's points.
        outcomes: How each ended, by index.
        task: The task's name, after which logs are named.
    """
    failed = [point for point in points if outcomes[point.index].status in ("failed", "killed")]
    if not failed:
        return None
    lines = [f"{len(failed)} of {len(points)} points failed; the same command tries them again."]
    for point in failed:
        outcome = outcomes[point.index]
        lines.append(f"  {point.index}: {' '.join(point.own_overrides)}: {outcome.error}")
        lines.append(f"    {outcome.folder}/{task}.log")
    return "\n".join(lines)


def _rows(points: Sequence[Point], outcomes: Mapping[int, Outcome]) -> list[list[str]]:
    """Returns what the table says, its head first."""
    keys = _keys_of(points)
    return [["point", *keys, "status", "result", "folder"], *(_row(point, keys, outcomes) for point in points)]


def _keys_of(points: Sequence[Point]) -> list[str]:
    """Returns the keys that the sweep varies."""
    return list(dict.fromkeys(key for point in points for key in _values_of(point)))


def _row(point: Point, keys: Sequence[str], outcomes: Mapping[int, Outcome]) -> list[str]:
    """Returns what the table says of a point."""
    outcome, values = outcomes[point.index], _values_of(point)
    result = "" if outcome.result is None else str(outcome.result)
    place = outcome.folder.name if outcome.folder else ""
    return [str(point.index), *(values.get(key, "") for key in keys), outcome.status, result, place]


def _values_of(point: Point) -> dict[str, str]:
    """Returns a point's own values by key."""
    pairs = (override.lstrip("+").partition("=") for override in point.own_overrides)
    return {key: value for key, _, value in pairs}


def _number(result: Any) -> float:
    is_number = isinstance(result, int | float) and not isinstance(result, bool)
    return float(result) if is_number else math.nan


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


class SweepFolder:
    """A sweep's folder, locked for this process.

    Args:
        run: What lies behind it.
        search: Chooses the points.
        facts: What the record of each point says of the code.
        before: What was on record of the sweep before this launch.

    Attributes:
        run: As given.
        points: Those known so far.
        errors: What went wrong, by the point's index, where its own record does not tell.
        facts: As given.
        is_left: Whether points go on without this process, which therefore has nothing to say of their end.
    """

    def __init__(self, run: Run, search: Search, facts: dict[str, Any], before: Record) -> None:
        self.run = run
        self.points: list[Point] = []
        self.errors: dict[int, str] = {}
        self.is_left = False
        self._search, self._before = search, before
        self._ends_before = self._ends() if before.status == "finished" else {}
        self._started_s = time.monotonic()
        self.facts = facts
        self._folders: dict[int, Path] = {}

    @property
    def folder(self) -> Path:
        """Where the points' folders lie."""
        return self.run.folder

    def adopt(self, point: Point) -> None:
        """Takes in a point that is over, with what its folder says of it."""
        runs = self._earlier_runs_of(point).runs
        if runs:  # Somebody may have deleted it.
            self._folders[point.index] = (_newest_finished(runs, point) or runs[0]).folder

    def reserve(self, point: Point) -> Run | None:
        """Chooses and locks the folder of a point.

        Args:
            point: What is to run.

        Returns:
            None if the point was finished earlier, and is left as it is.
        """
        print(f"\n[{point.index + 1}/{self._search.num_points}] {' '.join(point.own_overrides)}", flush=True)
        earlier = self._earlier_runs_of(point)
        finished = _newest_finished(earlier.runs, point)
        if finished is not None and (self._search.keeps_finished or point.config.config.skip_finished):
            self._folders[point.index] = finished.folder
            print("  finished earlier, skipped", flush=True)
            return None
        path = self.folder / self._name_of(point)
        run = choose_folder(path, point.record, earlier, may_continue=point.may_continue)
        run.update(**self.facts, error=None)  # What an earlier launch met is not this one's error.
        self._folders[point.index] = run.folder
        return run

    def outcomes(self) -> dict[int, Outcome]:
        """Returns how the points known so far ended, by index."""
        return {
            point.index: outcome_of(self._folders.get(point.index), self.errors.get(point.index), point.record.budget)
            for point in self.points
        }

    def close(self) -> None:
        """Writes down and prints how the sweep ended, unless it is again what an earlier launch has finished."""
        outcomes = self.outcomes()
        states = {outcome.status for outcome in outcomes.values()}
        is_whole = len(outcomes) == self._search.num_points and states <= {"finished", "pruned"}
        if not is_whole and self._before.status == "finished" and self._ends() == self._ends_before:
            write_record(self.folder, self._before)
            print(f"\nNothing of the finished sweep in {self.folder} was changed.\n{table_of(self.points, outcomes)}")
            return
        status: Status = "finished" if is_whole else "failed" if states & {"failed", "killed"} else "stopped"
        end_launch(self.run, status, time.monotonic() - self._started_s)
        report(self.folder, self.points, outcomes)

    def _ends(self) -> dict[Path, tuple[str, int]]:
        """Returns how each point stands on record, and after how many launches."""
        return {run.folder: (run.record.status, len(run.record.launches)) for run in runs_below(self.folder)}

    def _name_of(self, point: Point) -> str:
        return name_of_point(point.index, self._search.num_named, point.own_overrides)

    def _earlier_runs_of(self, point: Point) -> Earlier:
        return earlier_runs(self.folder, point.record, self._name_of(point))


def _newest_finished(runs: list[Run], point: Point) -> Run | None:
    """Returns the newest of a point's runs that has done all that is asked for."""
    return next((run for run in runs if run.record.is_finished_at(point.record.budget)), None)


@contextmanager
def opened_sweep(command: Command, examples: list[Point], code_state: CodeState | None) -> Iterator[SweepFolder]:
    """Chooses and locks a sweep's folder for the block, copies the code into it, and reports at the end.

    Args:
        command: What is asked for.
        examples: Points that stand for all.
        code_state: The state of the code.

    Raises:
        ConfigError: a point could not run from the copy, or a name in the folder misleads; nothing was changed.
    """
    listing = list_for_copy()
    run = choose_sweep(command.search, examples, Path(command.config.hydra.sweep.dir))
    print(f"Sweep of {command.search.num_points} points in {run.folder} ({run.reason}).", flush=True)
    try:
        facts, before = (
            snapshot_facts(run.folder, run.record.engine.checkpoints, listing, code_state),
            read_record(run.folder),
        )
        run.record = replace(run.record, **facts)
        start_launch(run)
        sweep = SweepFolder(run, command.search, facts, before)
        try:
            yield sweep
        finally:
            if not sweep.is_left:
                with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error is the news.
                    sweep.close()
    finally:
        run.lock.release()


def choose_sweep(search: Search, examples: list[Point], path: Path) -> Run:
    """Chooses and locks a sweep's folder: the one of the same sweep, unfinished, or a new one.

    With `config.skip_finished` the newest folder of the same sweep is taken, even if it is finished or ran on other
    code: what is finished in it is wanted.

    Args:
        search: Chooses the points.
        examples: Points that stand for all.
        path: A new folder's.
    """
    first = examples[0].record
    # In their order, which is in the names of the points' folders.
    facts = [*(point.record.identity for point in examples), json.dumps(search.facts, sort_keys=True)]
    if search.keeps_finished:  # What is over is never prolonged, so another length is another sweep.
        facts.append(json.dumps(first.budget, sort_keys=True))
    identity = hashlib.sha256("".join(facts).encode()).hexdigest()[:LENGTH]
    wanted = replace(first, kind="sweep", identity=identity, budget=search.budget or first.budget, overrides=[])
    earlier = earlier_runs(path.parent, wanted)
    # Taken whatever its state and code: its finished points are what is asked for, and the others find a folder in it.
    if earlier.runs and any(point.config.config.skip_finished for point in examples):
        if take_over(earlier.runs[0], wanted):
            return earlier.runs[0]
    elif earlier.runs:
        _say_what_is_finished(earlier.runs[0].folder, {point.record.identity for point in examples})
    return choose_folder(path, wanted, earlier, may_continue=all(point.may_continue for point in examples))


def _say_what_is_finished(sweep: Path, identities: set[str]) -> None:
    finished = {run.record.identity for run in runs_below(sweep) if run.record.status == "finished"}
    count = len(identities & finished)
    if count:
        print(
            f"{count} of {len(identities)} points are finished in {sweep.name}, and run again; "
            "config.skip_finished=true leaves them as they are."
        )


RunBatch = Callable[[SweepFolder, list[Point]], None]
"""Runs points that may run at the same time, to their end, each in the folder that it reserves for it."""


def run_sweep(command: Command, composer: Composer, run_batch: RunBatch) -> list[JobReturn]:
    """Runs a sweep.

    Args:
        command: What is asked for.
        composer: Composes the points.
        run_batch: Runs points.

    Returns:
        The points' results, in the order of their indices; nothing where they go on without this process.

    Raises:
        RunError: at least one point failed; the others were finished first.
        RunStoppedError: the sweep was asked to stop, or points of it were taken out of a cluster's queue.
    """
    with opened_sweep(command, composer.examples(), composer.code_state) as sweep:
        for batch in command.search.batches(sweep.folder):
            points = composer.points(batch)
            sweep.points += points
            over = {proposal.index for proposal in batch if proposal.is_over}
            for point in points:
                if point.index in over:
                    sweep.adopt(point)
            open_points = [point for point in points if point.index not in over]
            run_batch(sweep, open_points)
            if sweep.is_left:
                return []
            outcomes = sweep.outcomes()
            for point in open_points:
                command.search.tell(point.index, outcomes[point.index])
            if any(outcome.status == "stopped" for outcome in outcomes.values()):
                break
    outcomes = sweep.outcomes()
    failures = describe_failures(sweep.points, outcomes, command.config.hydra.job.name)
    if failures:
        raise RunError(failures)
    num_stopped = sum(outcome.status == "stopped" for outcome in outcomes.values())
    if num_stopped:
        raise RunStoppedError(f"{num_stopped} of {len(outcomes)} points were stopped. The same command continues them.")
    return [result_of(outcome) for _, outcome in sorted(outcomes.items())]


def result_of(outcome: Outcome) -> JobReturn:
    """Returns what Hydra expects of a point that has finished."""
    result = JobReturn()
    result.status = JobStatus.COMPLETED
    result.return_value = outcome.result
    return result
