"""A sweep's folder: chosen once per command, the same again for the same sweep, with a folder in it for each point."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.launch.command import Command
from common.launch.point import Point
from common.launch.snapshot import snapshot_facts
from common.launch.sweep.outcome import Outcome, outcome_of
from common.launch.sweep.report import report
from common.launch.sweep.search import Search
from common.run.continuation import (
    Choice,
    all_runs,
    choose_folder,
    is_finished,
    newest_run,
    read_record,
    runs_of,
    take_over,
    write_record,
)
from common.run.folder import name_of_point
from common.run.identity import LENGTH


class SweepFolder:
    """A sweep's folder, locked for this process.

    Args:
        choice: The folder.
        search: Chooses the points.
        facts: What the record of each point says of the code.

    Attributes:
        folder: Where the points' folders lie.
        points: Those known so far.
        errors: What went wrong, by the point's index, where its own record does not tell.
        facts: As given.
        is_left: Whether points go on without this process, which therefore has nothing to say of their end.
    """

    def __init__(self, choice: Choice, search: Search, facts: dict[str, Any]) -> None:
        self.folder = choice.folder
        self.points: list[Point] = []
        self.errors: dict[int, str] = {}
        self.is_left = False
        self._lock = choice.lock
        self._search = search
        self.facts = facts
        self._folders: dict[int, Path] = {}

    def adopt(self, point: Point) -> None:
        """Takes in a point that is over, with what its folder says of it."""
        found = self._finished_runs_of(point) or self._runs_of(point)
        if found:  # Somebody may have deleted it.
            self._folders[point.index] = found[0]

    def reserve(self, point: Point) -> Choice | None:
        """Chooses and locks the folder of a point.

        Args:
            point: What is to run.

        Returns:
            None if the point was finished earlier, and is left as it is.
        """
        print(f"\n[{point.index + 1}/{self._search.num_points}] {' '.join(point.own_overrides)}", flush=True)
        is_kept = self._search.keeps_finished or point.config.config.skip_finished
        if is_kept and self._finished_runs_of(point):
            self.adopt(point)
            print("  finished earlier, skipped", flush=True)
            return None
        earlier = self._runs_of(point)
        choice = choose_folder(
            self.folder / self._name_of(point),
            point.launch(),
            earlier[0] if earlier else None,
            may_continue=point.may_continue,
        )
        choice.record |= self.facts
        write_record(choice.folder, choice.record)
        self._folders[point.index] = choice.folder
        return choice

    def outcomes(self) -> dict[int, Outcome]:
        """Returns how the points known so far ended, by index."""
        return {
            point.index: outcome_of(self._folders.get(point.index), self.errors.get(point.index))
            for point in self.points
        }

    def close(self) -> None:
        """Writes down and prints how the sweep ended."""
        outcomes = self.outcomes()
        states = {outcome.status for outcome in outcomes.values()}
        is_whole = len(outcomes) == self._search.num_points and states <= {"finished", "pruned"}
        status = "finished" if is_whole else "failed" if states & {"failed", "killed"} else "stopped"
        write_record(self.folder, read_record(self.folder) | {"status": status})
        report(self.folder, self.points, outcomes)

    def release(self) -> None:
        """Gives the lock back."""
        self._lock.release()

    def _name_of(self, point: Point) -> str:
        return name_of_point(point.index, self._search.num_named, point.own_overrides)

    def _runs_of(self, point: Point) -> list[Path]:
        return runs_of(self.folder, point.launch(), self._name_of(point))

    def _finished_runs_of(self, point: Point) -> list[Path]:
        return [folder for folder in self._runs_of(point) if is_finished(folder, point.launch())]


@contextmanager
def opened_sweep(command: Command, examples: list[Point]) -> Iterator[SweepFolder]:
    """Chooses and locks a sweep's folder for the block, copies the code into it, and reports at the end.

    Args:
        command: What is asked for.
        examples: Points that stand for all.
    """
    choice = choose_sweep(command.search, examples, Path(command.config.hydra.sweep.dir))
    print(f"Sweep of {command.search.num_points} points in {choice.folder} ({choice.reason}).", flush=True)
    facts = snapshot_facts(choice.folder)
    write_record(choice.folder, choice.record | {"status": "running"} | facts)
    sweep = SweepFolder(choice, command.search, facts)
    try:
        yield sweep
    finally:
        if not sweep.is_left:
            with contextlib.suppress(OSError):  # On a full disk, or without the folder, the error itself is the news.
                sweep.close()
        sweep.release()


def choose_sweep(search: Search, examples: list[Point], wanted: Path) -> Choice:
    """Chooses and locks a sweep's folder: the one of the same sweep, unfinished, or a new one.

    With `config.skip_finished` the newest folder of the same sweep is taken, even if it is finished or ran on other
    code: what is finished in it is wanted.

    Args:
        search: Chooses the points.
        examples: Points that stand for all.
        wanted: A new folder's path.
    """
    launches = [point.launch() for point in examples]
    first = launches[0]
    # In their order, which is in the names of the points' folders.
    facts = [*(launch.identity for launch in launches), json.dumps(search.facts, sort_keys=True)]
    if search.keeps_finished:  # What is over is never prolonged, so another length is another sweep.
        facts.append(json.dumps(first.budget, sort_keys=True))
    identity = hashlib.sha256("".join(facts).encode()).hexdigest()[:LENGTH]
    sweep = replace(first, kind="sweep", identity=identity, budget=search.budget or first.budget, overrides=[])
    earlier = newest_run(wanted.parent, sweep)
    if earlier is not None and any(point.config.config.skip_finished for point in examples):
        choice = take_over(earlier, sweep)
        if choice is not None:
            return choice
    elif earlier is not None:
        _say_what_is_finished(earlier, {launch.identity for launch in launches})
    return choose_folder(wanted, sweep, earlier, may_continue=all(point.may_continue for point in examples))


def _say_what_is_finished(sweep: Path, identities: set[str]) -> None:
    records = [record for _, record in all_runs(sweep)]
    count = len(identities & {record["identity"] for record in records if record["status"] == "finished"})
    if count:
        print(
            f"{count} of {len(identities)} points are finished in {sweep.name}, and run again; "
            "config.skip_finished=true leaves them as they are."
        )
