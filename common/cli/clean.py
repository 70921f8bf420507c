"""`ai-research clean`: removes what failed, is empty or superseded, after asking."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from common.cli.continuing import typed_command
from common.cli.find import all_points, find_run, newest_first, task_folders
from common.cli.options import runs_argument
from common.cli.output import console, echo, json_option, print_json, size_text
from common.cli.runs import Run, State, read_run
from common.run.atomic import REMOVED, folder_prefix, leftovers_in
from common.run.atomic import remove as remove_whole
from common.run.checkpoint import LAST, PREVIOUS, is_whole
from common.run.files import read_bytes
from common.run.identity import is_larger_budget
from common.run.lock import FolderLock, is_held
from common.run.metrics import FILE_NAME as METRICS
from common.utils.table import make_table

Reason = Literal[
    "failed", "empty", "superseded by a finished run", "superseded by last.ckpt", "left half made by a dead process"
]

REMOVABLE: tuple[State, ...] = ("failed", "interrupted", "stopped")
"""Runs of other states are never touched."""


@dataclass
class Candidate:
    """What may go.

    Attributes:
        run: The run that it belongs to; None for what dead processes left half made.
        path: The run's folder, a checkpoint in it, or what was left.
        reason: Why it may go.
        num_bytes: The space that it takes.
    """

    run: Run | None
    path: Path
    reason: Reason
    num_bytes: int


@click.command()
@runs_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(runs: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove failed runs, runs without a metric, and superseded checkpoints, of RUNS or of all, after asking.

    A run that has finished once, or has a good checkpoint, is never removed as failed: it is interrupted, and the
    command is named that continues it.

    So is what processes that are gone have left half made: files and folders that have no name yet.

    A checkpoint is superseded when the same run has finished later in another folder, and previous.ckpt by a last.ckpt
    that is whole. Runs that finished, run or wait in a queue are never touched, nor what is no run.
    """
    meant = [find_run(name) for name in runs] if runs else list(newest_first(task_folders()))
    candidates = [*candidates_of(meant), *leftovers_of(meant, [] if runs else task_folders())]
    total = size_text(sum(candidate.num_bytes for candidate in candidates))
    if not as_json:
        print_candidates(candidates, total)
        print_interrupted(meant)
    removed = []
    if candidates and (yes or (sys.stdin.isatty() and not as_json and click.confirm(f"Remove these {total}?"))):
        removed = [candidate for candidate in candidates if remove(candidate)]
    if as_json:
        print_json([_as_row(candidate, candidate in removed) for candidate in candidates])
    elif removed:
        click.echo(f"Removed {len(removed)} of {len(candidates)}.")
    elif candidates:
        click.echo("Nothing was removed; --yes removes without asking.")


def candidates_of(runs: list[Run]) -> Iterator[Candidate]:
    """Yields what may go of runs and of the points of sweeps."""
    finished = [run for run in all_points(newest_first(task_folders())) if run.state == "finished"]
    for run in all_points(iter(runs)):
        if run.state not in REMOVABLE or is_left_alone(run):
            continue
        if (run.state == "failed" or is_empty(run)) and not can_continue(run):
            yield Candidate(run, run.folder, "failed" if run.state == "failed" else "empty", size_of(run.folder))
        else:
            yield from superseded_checkpoints(run, any(_supersedes(other, run) for other in finished))


def leftovers_of(runs: list[Run], task_folders: list[Path]) -> Iterator[Candidate]:
    """Yields what dead processes left half made, in runs and sweeps and beside them.

    Args:
        runs: Runs and sweeps.
        task_folders: The folders that hold runs.
    """
    own = [*runs, *all_points(iter(runs))]
    places = [*task_folders, *(run.folder for run in own), *(run.checkpoints for run in own)]
    for path in dict.fromkeys(path for place in places for path in leftovers_in(place)):
        yield Candidate(None, path, "left half made by a dead process", size_of(path))


def is_left_alone(run: Run) -> bool:
    """Returns whether a run may still be somebody's: a point of a sweep that runs, or a job of a queue unseen here."""
    return run.record.status == "queued" or (run.kind == "point" and is_held(run.folder.parent))


def can_continue(run: Run) -> bool:
    """Returns whether a run holds anything that its command continues from: a good checkpoint, or an earlier end."""
    return run.record.has_finished or any(is_whole(path) for path in run.folder.glob("*/*.ckpt"))


def _supersedes(finished: Run, run: Run) -> bool:
    is_same = finished.identity == run.identity and finished.created_s > run.created_s
    return is_same and not is_larger_budget(run.record.budget, finished.record.budget)


def is_empty(run: Run) -> bool:
    """Returns whether a run has left no metric and no checkpoint."""
    try:
        has_metrics = bool(run.metrics) or read_bytes(run.folder, METRICS).count(b"\n") > 1
    except OSError:
        has_metrics = os.path.lexists(run.folder / METRICS)
    return not has_metrics and not any(run.folder.glob("*/*.ckpt"))


def superseded_checkpoints(run: Run, has_finished_later: bool) -> Iterator[Candidate]:
    """Yields the checkpoints of an unfinished run that nobody needs any more."""
    folder = run.checkpoints
    if has_finished_later:
        for path in sorted(folder.glob("*.ckpt")):
            yield Candidate(run, path, "superseded by a finished run", size_of(path))
    elif (folder / PREVIOUS).is_file() and is_whole(folder / LAST):
        yield Candidate(run, folder / PREVIOUS, "superseded by last.ckpt", size_of(folder / PREVIOUS))


def size_of(path: Path) -> int:
    """Returns the space that removing a file, or a folder with all below, gives back; links are not followed.

    A file with several names, as checkpoints have them, gives back its space with its last name.
    """
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    statuses = [file.lstat() for file in files if file.is_symlink() or not file.is_dir()]
    num_names = Counter(status.st_ino for status in statuses)
    sizes = {status.st_ino: status.st_size for status in statuses if status.st_nlink == num_names[status.st_ino]}
    return sum(sizes.values())


def remove(candidate: Candidate) -> bool:
    """Removes a candidate while nobody else may write to its run; returns whether it is gone.

    The run is looked at once more under its lock: it may have been continued since it was listed.
    """
    if candidate.run is None:
        return candidate.path in leftovers_in(candidate.path.parent) and remove_whole(candidate.path)
    lock = FolderLock(candidate.run.folder)
    try:
        if not lock.acquire():
            return False
        if read_run(candidate.run.folder).record != candidate.run.record:
            return False
        if candidate.path == candidate.run.folder:
            # Should this process be cut off, nobody takes what remains for a run.
            leaving = candidate.path.with_name(f"{folder_prefix(REMOVED)}{candidate.path.name}")
            return remove_whole(candidate.path.rename(leaving))
        return remove_whole(candidate.path)
    except OSError as error:
        echo(f"{candidate.path} stays: {error.strerror}.", is_error=True)
        return False
    finally:
        lock.release()


def print_candidates(candidates: list[Candidate], total: str) -> None:
    """Prints what may go."""
    if not candidates:
        click.echo("Nothing to remove.")
        return
    rows = [[str(one.path), _state_of(one) or "–", one.reason, size_text(one.num_bytes)] for one in candidates]
    console().print(make_table("what", "run", "why", "#size", rows=[*rows, ["together", "", "", total]]))


def print_interrupted(runs: list[Run]) -> None:
    """Prints how runs are continued that failed, and are kept all the same."""
    for run in all_points(iter(runs)):
        if run.state == "failed" and not is_left_alone(run) and can_continue(run):
            echo(f"Kept: {run.folder} is interrupted. The same command continues it:\n  {typed_command(run)}")


def _as_row(candidate: Candidate, is_removed: bool) -> dict[str, object]:
    return {
        "path": str(candidate.path),
        "status": _state_of(candidate),
        "reason": candidate.reason,
        "bytes": candidate.num_bytes,
        "removed": is_removed,
    }


def _state_of(candidate: Candidate) -> State | None:
    """Returns how a candidate's run stands; one that failed and is kept, but for a checkpoint, is interrupted."""
    if candidate.run is None:
        return None
    is_kept = candidate.path != candidate.run.folder and candidate.run.state == "failed"
    return "interrupted" if is_kept else candidate.run.state
