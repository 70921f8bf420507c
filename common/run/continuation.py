"""Chooses the folder of a launch: the one of an earlier, unfinished run of the same identity, or a new one.

What a launch finds in an earlier run's `provenance.json` decides; the lock makes the decision hold. Each record is read
once: what lies behind a folder is passed on as a `Run`, and is read again only if somebody wrote it in between.
"""

import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RunError
from common.run.checkpoint import LAST, last_checkpoint
from common.run.files import REMEDY, is_of_another_owner
from common.run.finished import is_kept, keep_finished, put_back_finished, read_settled_record
from common.run.folder import reserve_folder
from common.run.identity import changed_files, is_larger_budget
from common.run.lock import FolderLock
from common.run.metrics import FILE_NAME as METRICS
from common.run.queue import is_in_queue
from common.run.record import FILE_NAME, DamagedRecordError, Record, read_record, write_record

log = logging.getLogger(__name__)

TRACES = (FILE_NAME, ".hydra", METRICS)
"""What only a run has, beside checkpoints: a folder without any of them is none, be it damaged or not."""

MOST_NAMED = 3
"""How many damaged runs are named."""

OWN_FOLDER_TIMEOUT_S = 300.0
"""How long a job waits for its folder: the process before it may be leaving, or have died on another machine."""


@dataclass
class Run:
    """What lies behind a run's folder.

    Attributes:
        folder: The folder.
        record: What is on record of the run; for a launch that was given the folder, what will be.
        lock: The right to write to it, taken or not.
        reason: Why a launch was given this folder, in one line.
        version: Tells whether the file still is the one that was read.
    """

    folder: Path
    record: Record
    lock: FolderLock
    reason: str = ""
    version: tuple[int, ...] = ()

    def update(self, **facts: Any) -> None:
        """Changes what is on record, and writes it."""
        self.record = replace(self.record, **facts)
        write_record(self.folder, self.record)


@dataclass
class Earlier:
    """What earlier launches have left of what is to be launched.

    Attributes:
        runs: The runs of the same kind and identity, the newest first.
        damaged: What may be such runs, and cannot be read.
        foreign: Such a run of another user, who alone continues it.
        unread: How many folders of other users cannot be read.
    """

    runs: list[Run] = field(default_factory=list)
    damaged: list[DamagedRecordError] = field(default_factory=list)
    foreign: Path | None = None
    unread: int = 0


def own_run(folder: Path) -> Run:
    """Locks and returns a job's own run, which it always continues, however often it is queued again.

    Raises:
        DamagedRecordError: its record cannot be read.
        RunError: another process does not let go of the folder.
    """
    lock = FolderLock(folder)
    deadline = time.monotonic() + OWN_FOLDER_TIMEOUT_S
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise RunError(f"{folder} is still being written by another process after {OWN_FOLDER_TIMEOUT_S:.0f} s.")
        time.sleep(1)
    record = read_record(folder)
    return Run(folder, record, lock, f"the job's own folder, {record.status}")


def check_own_run(run: Run, wanted: Record) -> None:
    """Checks that a job continues what was submitted, and keeps what had been finished before.

    Args:
        run: The job's own run, locked; the lock is released if the check fails.
        wanted: What the job has composed.

    Raises:
        ConfigError: what was composed here is not what was submitted.
    """
    if run.record.identity != wanted.identity:
        run.lock.release()
        if run.record.origin and wanted.origin and run.record.origin.fingerprint != wanted.origin.fingerprint:
            raise ConfigError(
                f"{run.folder}: the checkpoint {wanted.origin.path}, which the run is to start from, has changed since "
                "the job was submitted. Submit the command again."
            )
        raise ConfigError(
            f"{run.folder}: the job composed another configuration (identity {wanted.identity}) than was submitted "
            f"({run.record.identity}). Is the data on this machine the same? Submit the command again."
        )
    _warn_of_packages(run.record, wanted)
    if run.record.has_finished and not is_kept(run.folder):  # Else it was kept when the job was submitted.
        keep_finished(run.folder, run.record.engine.checkpoints)


def choose_folder(path: Path, wanted: Record, earlier: Earlier, *, may_continue: bool) -> Run:
    """Chooses and locks the folder of a launch.

    Args:
        path: A new folder's.
        wanted: What is launched.
        earlier: What earlier launches have left; of its runs, only the newest may be continued.
        may_continue: Whether an earlier run may be continued at all.
    """
    if not may_continue:
        return new_run(path, wanted, "a new run, as config.ckpt_path=null asks")
    # Only the newest: an older one was left for it, and two that go on would be two histories of one run.
    newest = next(iter(earlier.runs), None)
    # Each damaged run is named, whatever is chosen: it may be the one that should have been continued.
    damages = _texts_of_damaged(earlier.damaged, wanted.engine.checkpoints)
    if newest is not None:
        obstacle = try_to_continue(newest, wanted)
        if obstacle is None:
            newest.reason = "; ".join([newest.reason, *damages])
            return newest
        reasons = [obstacle, *damages]
    elif earlier.foreign is not None:
        reasons = [f"{earlier.foreign.name}, of the same identity, belongs to another user", *damages]
    else:
        reasons = damages or ["there is no earlier one of this identity"]
    if earlier.unread:
        reasons.append(f"passed over what other users left here and nobody else may read ({earlier.unread})")
    return new_run(path, wanted, f"a new run: {'; '.join(reasons)}")


def try_to_continue(run: Run, wanted: Record) -> str | None:
    """Locks an earlier run if it is to be continued and nobody writes to it.

    Args:
        run: The earlier run. Once it is locked, its record is that of the launch.
        wanted: What is launched.

    Returns:
        Why it is not continued, or None if it is.
    """
    # What costs nothing is asked first. The lock comes last: to take it may last a minute, and keeps others away.
    obstacle = obstacle_to_continuing(run, wanted) or _obstacle_in_queue(run) or _obstacle_to_locking(run)
    if obstacle is not None:
        return obstacle
    obstacle = obstacle_to_continuing(run, wanted)  # Again: it may have finished while the lock was not ours.
    if obstacle is not None:
        run.lock.release()
        return obstacle
    _warn_of_packages(run.record, wanted)
    if run.record.has_finished and run.record.kind != "sweep":  # A sweep has no checkpoint; its points keep theirs.
        try:
            keep_finished(run.folder, run.record.engine.checkpoints)
        except OSError as error:
            run.lock.release()
            return f"{run.folder.name} is finished, and what was finished cannot be kept: {error.strerror}"
    # Its process is gone, or its lock could not have been had: so it was killed before it could write how it ended.
    state = "interrupted" if run.record.status == "running" else run.record.status
    run.reason = f"continuing the {state} run {run.folder.name}"
    run.record = replace(
        run.record, budget=wanted.budget, packages=wanted.packages, changes=wanted.changes, given=wanted.given
    )
    return None


def obstacle_to_continuing(run: Run, wanted: Record) -> str | None:
    """Returns why an earlier run is not to be continued by what its record says, or None if it is."""
    name, record = run.folder.name, run.record
    if record.status == "finished" and wanted.budget == record.budget:
        return f"{name} is finished at this budget"
    if record.is_finished_at(wanted.budget):
        return f"{name} is finished at a larger budget than this"
    # An unfinished run that was asked for more is not cut short: it may be past this budget already.
    if wanted.budget != record.budget and not is_larger_budget(wanted.budget, record.budget):
        return f"{name} was asked for more than this"
    # The same configuration may mean something else to other code: no run is made by two states of it.
    changed = changed_files(wanted.code, record.code)
    if changed:
        names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        return (
            f"since {name}, {names} changed. To start from it all the same: "
            f"config.ckpt_path={run.folder / record.engine.checkpoints / LAST}"
        )
    return None


def new_run(path: Path, wanted: Record, reason: str) -> Run:
    """Makes and locks the folder of a new run."""
    record = replace(wanted, status="running", created_ns=time.time_ns())
    locks: list[FolderLock] = []

    def prepare(folder: Path) -> None:
        # Locked and on record before it has its name: no other launch ever sees it as nobody's.
        locks.append(FolderLock(folder))
        locks[0].acquire()
        write_record(folder, record)

    folder = reserve_folder(path, prepare)
    locks[0].moved(folder)
    return Run(folder, record, locks[0], reason)


def earlier_runs(parent: Path, wanted: Record, name: str | None = None) -> Earlier:
    """Returns what earlier launches have left below a folder.

    Args:
        parent: Holds the runs' folders.
        wanted: What is launched.
        name: Only folders that were made under this name; those made later under it have a number appended.
    """
    earlier = Earlier()
    for folder in _subfolders(parent, name):
        try:
            run = read_run(folder)
        except DamagedRecordError as damage:
            if _is_foreign(folder):
                earlier.unread += not os.access(folder, os.R_OK | os.X_OK) or os.path.lexists(folder / FILE_NAME)
            elif damage.identity in (None, wanted.identity) and _is_run(folder, wanted):
                earlier.damaged.append(damage)
            continue
        if (run.record.kind, run.record.identity) != (wanted.kind, wanted.identity):
            continue
        if _is_foreign(folder):
            earlier.foreign = folder
        else:
            earlier.runs.append(run)
    # By what is on record: folders may have been copied or renamed, which changes their own times and names.
    earlier.runs.sort(key=lambda run: (run.record.created_ns, run.folder), reverse=True)
    return earlier


def runs_below(parent: Path) -> Iterator[Run]:
    """Yields the runs directly below a folder; what is no run, or is damaged, is passed over."""
    for folder in _subfolders(parent):
        try:
            yield read_run(folder)
        except DamagedRecordError:
            continue


def read_run(folder: Path) -> Run:
    """Returns what lies behind a folder.

    Raises:
        DamagedRecordError: its record cannot be read.
    """
    version = _version_of(folder)
    return Run(folder, read_settled_record(folder), FolderLock(folder), version=version)


def take_over(run: Run, wanted: Record) -> bool:
    """Locks an earlier sweep's folder, whatever its state; returns False if somebody still works on it."""
    if is_in_queue(run.record) or _obstacle_to_locking(run) is not None:
        return False
    run.record = replace(run.record, budget=wanted.budget, code=wanted.code, packages=wanted.packages)
    run.reason = f"going on in {run.folder.name}, whose finished points are skipped"
    return True


def _obstacle_in_queue(run: Run) -> str | None:
    """Returns why a run is to be left to SLURM, or None."""
    if run.record.slurm is None or not is_in_queue(run.record):
        return None
    return f"{run.folder.name} is in SLURM's queue as job {run.record.slurm.job_id}"


def _obstacle_to_locking(run: Run) -> str | None:
    """Locks a run and sees to it that its record is the newest; returns why it could not, or None."""
    try:
        if not run.lock.acquire():
            return f"{run.folder.name} is still being written by another process"
    except OSError as error:
        return f"{run.folder.name} cannot be written to: {str(error.strerror).partition(f'. {REMEDY}')[0]}"
    try:
        # Between the first look and the lock another launch may have come and gone.
        if put_back_finished(run.folder) or _version_of(run.folder) != run.version:
            run.record = read_record(run.folder)
    except (OSError, DamagedRecordError) as error:
        run.lock.release()
        what = error.strerror if isinstance(error, OSError) else error.what
        return f"{run.folder.name} cannot be continued: {what}"
    return None


def _version_of(folder: Path) -> tuple[int, ...]:
    """Returns what tells one `provenance.json` from another; each is a file of its own, renamed to this name."""
    try:
        status = (folder / FILE_NAME).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _subfolders(parent: Path, name: str | None = None) -> list[Path]:
    """Returns the folders directly below a folder that may be runs; see `earlier_runs`."""
    try:
        found = sorted(path for path in parent.iterdir() if path.name[0] != ".")
    except OSError:  # There is none yet, or it cannot be read: then nothing can be made there either.
        return []
    return [
        path
        for path in found
        if name is None or (path.name.startswith(name) and re.fullmatch(r"(_\d+)?", path.name.removeprefix(name)))
    ]


def _is_run(folder: Path, wanted: Record) -> bool:
    """Returns whether a folder is a run's, by anything in it that a run of what is launched has."""
    try:
        return any(os.path.lexists(folder / trace) for trace in (*TRACES, wanted.engine.checkpoints))
    except OSError:
        return False


def _is_foreign(folder: Path) -> bool:
    """Returns whether a folder belongs to another user, who alone continues what lies there."""
    try:
        return is_of_another_owner(folder)
    except OSError:  # It has just been removed.
        return True


def _texts_of_damaged(damaged: list[DamagedRecordError], checkpoints: str) -> list[str]:
    """Returns what a person is told of damaged runs, whose checkpoints lie in a folder of this name."""
    texts = []
    for damage in damaged[:MOST_NAMED]:
        checkpoint = last_checkpoint(damage.folder / checkpoints)
        remedy = f"to start from it: config.ckpt_path={checkpoint}" if checkpoint else "it has no checkpoint: delete it"
        texts.append(f"a damaged run of this task lies at {damage.folder}: {damage.what} ({remedy})")
    more = len(damaged) - MOST_NAMED
    return [*texts, f"{more} more are damaged"] if more > 0 else texts


def _warn_of_packages(record: Record, wanted: Record) -> None:
    for name, version in wanted.packages.items():
        if record.packages.get(name) != version:
            log.warning("The run began with %s %s and goes on with %s.", name, record.packages.get(name), version)
