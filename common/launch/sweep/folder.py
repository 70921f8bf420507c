"""A sweep's folder: chosen once per command, the same again for the same sweep, with a folder in it for each point."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.launch.code_state import CodeState
from common.launch.command import Command
from common.launch.point import Point
from common.launch.snapshot import list_for_copy, snapshot_facts
from common.launch.sweep.outcome import Outcome, outcome_of
from common.launch.sweep.report import report
from common.launch.sweep.search import Search
from common.run.continuation import Earlier, Run, choose_folder, earlier_runs, runs_below, take_over
from common.run.folder import name_of_point
from common.run.identity import LENGTH


class SweepFolder:
    """A sweep's folder, locked for this process.

    Args:
        run: What lies behind it.
        search: Chooses the points.
        facts: What the record of each point says of the code.

    Attributes:
        run: As given.
        points: Those known so far.
        errors: What went wrong, by the point's index, where its own record does not tell.
        facts: As given.
        is_left: Whether points go on without this process, which therefore has nothing to say of their end.
    """

    def __init__(self, run: Run, search: Search, facts: dict[str, Any]) -> None:
        self.run = run
        self.points: list[Point] = []
        self.errors: dict[int, str] = {}
        self.is_left = False
        self._search = search
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
        """Writes down and prints how the sweep ended."""
        outcomes = self.outcomes()
        states = {outcome.status for outcome in outcomes.values()}
        is_whole = len(outcomes) == self._search.num_points and states <= {"finished", "pruned"}
        self.run.update(status="finished" if is_whole else "failed" if states & {"failed", "killed"} else "stopped")
        report(self.folder, self.points, outcomes)

    def release(self) -> None:
        """Gives the lock back."""
        self.run.lock.release()

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
        ConfigError: a point could not run from the copy; nothing was started.
    """
    listing = list_for_copy()
    run = choose_sweep(command.search, examples, Path(command.config.hydra.sweep.dir))
    print(f"Sweep of {command.search.num_points} points in {run.folder} ({run.reason}).", flush=True)
    facts = snapshot_facts(run.folder, listing, code_state)
    run.update(status="running", **facts)
    sweep = SweepFolder(run, command.search, facts)
    try:
        yield sweep
    finally:
        if not sweep.is_left:
            with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
                sweep.close()
        sweep.release()


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
