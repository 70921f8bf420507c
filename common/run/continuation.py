"""Chooses the folder of a launch: the one of an earlier, unfinished run of the same identity, or a new one.

What a launch finds in an earlier run's `provenance.json` decides; the lock makes the decision hold.
"""

import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from common.errors import ConfigError, RunError
from common.run.atomic import write_text_atomically
from common.run.checkpoint import FOLDER_NAME, LAST
from common.run.folder import reserve_folder
from common.run.identity import changed_files, is_larger_budget
from common.run.lock import FolderLock
from common.run.provenance import FILE_NAME
from common.run.queue import is_in_queue

log = logging.getLogger(__name__)

Kind = Literal["plain", "point", "sweep"]
"""A plain run, one point of a sweep, or the folder that holds a sweep's points; they never continue each other."""


@dataclass
class Launch:
    """What a launch knows before it has a folder; a part of `provenance.json`.

    Attributes:
        kind: What is launched.
        identity: What the result depends on; see `common.run.identity`.
        budget: How long the run is to go on.
        code: Fingerprints of the code's files.
        packages: Versions of the packages that can change a result.
        overrides: Of a sweep's point, the overrides that the sweep varies.
        created_ns: When the folder was made, in nanoseconds since 1970.
        changes: What the configuration changes of the task's defaults; see `common.run.changes`.
        given: The overrides that do so, by key.
    """

    kind: Kind
    identity: str
    budget: dict[str, Any]
    code: dict[str, str]
    packages: dict[str, str]
    overrides: list[str] = field(default_factory=list)
    created_ns: int = field(default_factory=time.time_ns)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)


@dataclass
class Choice:
    """The folder of a launch.

    Attributes:
        folder: The folder, locked for this process.
        lock: The lock.
        reason: Why this folder, in one line.
        record: The provenance that lies there: this launch's, or the earlier run's.
    """

    folder: Path
    lock: FolderLock
    reason: str
    record: dict[str, Any]


OWN_FOLDER_TIMEOUT_S = 300.0
"""How long a job waits for its folder: the process before it may be leaving, or have died on another machine."""


def own_choice(folder: Path, launch: Launch) -> Choice:
    """Locks and returns a job's own folder, which it always continues, however often it is queued again.

    Args:
        folder: The folder.
        launch: What is launched.

    Raises:
        ConfigError: what was composed here is not what was submitted.
        RunError: another process does not let go of the folder.
    """
    lock = FolderLock(folder)
    deadline = time.monotonic() + OWN_FOLDER_TIMEOUT_S
    while not lock.acquire():
        if time.monotonic() > deadline:
            raise RunError(f"{folder} is still being written by another process after {OWN_FOLDER_TIMEOUT_S:.0f} s.")
        time.sleep(1)
    record = read_record(folder)
    if record["identity"] != launch.identity:
        lock.release()
        raise ConfigError(
            f"{folder}: the job composed another configuration (identity {launch.identity}) than was submitted "
            f"({record['identity']}). Is the data on this machine the same? Submit the command again."
        )
    _warn_of_packages(record, launch)
    return Choice(folder, lock, f"the job's own folder, {record['status']}", record)


def choose_folder(wanted: Path, launch: Launch, earlier: Path | None, *, may_continue: bool) -> Choice:
    """Chooses and locks the folder of a launch.

    Args:
        wanted: A new folder's path.
        launch: What is launched.
        earlier: The folder of the newest earlier run of the same identity, if there is one.
        may_continue: Whether an earlier run may be continued at all.
    """
    if not may_continue:
        return new_folder(wanted, launch, "a new run, as config.ckpt_path asks")
    if earlier is None:
        return new_folder(wanted, launch, "a new run: there is no earlier one of this identity")
    return try_to_continue(earlier, launch) or new_folder(wanted, launch, why_not(earlier, launch))


def try_to_continue(folder: Path, launch: Launch) -> Choice | None:
    """Locks and returns an earlier run's folder if it is to be continued and nobody writes to it."""
    record = read_record(folder)
    if obstacle_to_continuing(record, launch, folder) or is_in_queue(record):
        return None
    lock = FolderLock(folder)
    if not lock.acquire():
        return None
    record = read_record(folder)  # Again: it may have finished while the lock was not ours.
    if obstacle_to_continuing(record, launch, folder):
        lock.release()
        return None
    _warn_of_packages(record, launch)
    record |= {"budget": launch.budget, "packages": launch.packages}
    record |= {"changes": launch.changes, "given": launch.given}
    state = "interrupted" if record["status"] == "running" else record["status"]
    return Choice(folder, lock, f"continuing the {state} run {folder.name}", record)


def obstacle_to_continuing(record: dict[str, Any], launch: Launch, folder: Path) -> str | None:
    """Returns why an earlier run is not to be continued, or None if it is."""
    is_larger = is_larger_budget(launch.budget, record["budget"])
    if record["status"] == "finished" and not is_larger:
        return f"a new run: {folder.name} is finished at this budget"
    if not is_larger and launch.budget != record["budget"]:
        return f"a new run: {folder.name} was asked for more than this"
    changed = changed_files(launch.code, record["code"])
    if changed:
        names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        return (
            f"a new run: since {folder.name}, {names} changed. To start from it all the same: "
            f"config.ckpt_path={folder / FOLDER_NAME / LAST}"
        )
    return None


def why_not(folder: Path, launch: Launch) -> str:
    """Returns why an earlier run was not continued."""
    record = read_record(folder)
    obstacle = obstacle_to_continuing(record, launch, folder)
    if obstacle is None and is_in_queue(record):
        return f"a new run: {folder.name} is in SLURM's queue as job {record['slurm']['job_id']}"
    return obstacle or f"a new run: {folder.name} is still being written by another process"


def new_folder(wanted: Path, launch: Launch, reason: str) -> Choice:
    """Makes and locks a new folder."""
    record = {"status": "running", **asdict(launch)}
    locks: list[FolderLock] = []

    def prepare(folder: Path) -> None:
        locks.append(FolderLock(folder))
        locks[0].acquire()
        write_record(folder, record)

    folder = reserve_folder(wanted, prepare)
    locks[0].moved(folder)
    return Choice(folder, locks[0], reason, record)


def newest_run(parent: Path, launch: Launch) -> Path | None:
    """Returns the newest earlier run of the same kind and identity below a folder."""
    return next(iter(runs_of(parent, launch)), None)


def runs_of(parent: Path, launch: Launch, name: str | None = None) -> list[Path]:
    """Returns the earlier runs of the same kind and identity below a folder, the newest first.

    Args:
        parent: Holds the runs' folders.
        launch: What is launched.
        name: Only folders that were made under this name; those made later under it have a number appended.
    """
    found = all_runs(parent) if name is None else all_runs(parent, f"{name}*")
    same = [
        (record["created_ns"], folder)
        for folder, record in found
        if (record["kind"], record["identity"]) == (launch.kind, launch.identity)
        and (name is None or re.fullmatch(r"(_\d+)?", folder.name.removeprefix(name)))
    ]
    return [folder for _, folder in sorted(same, reverse=True)]


def is_finished(folder: Path, launch: Launch) -> bool:
    """Returns whether an earlier run has done all that is asked for."""
    record = read_record(folder)
    return bool(record["status"] == "finished" and not is_larger_budget(launch.budget, record["budget"]))


def take_over(folder: Path, launch: Launch) -> Choice | None:
    """Locks and returns an earlier sweep's folder, whatever its state, unless somebody still works on it."""
    record = read_record(folder)
    lock = FolderLock(folder)
    if is_in_queue(record) or not lock.acquire():
        return None
    record |= {"budget": launch.budget, "code": launch.code, "packages": launch.packages}
    return Choice(folder, lock, f"going on in {folder.name}, whose finished points are skipped", record)


def read_record(folder: Path) -> dict[str, Any]:
    """Returns what a run's `provenance.json` says."""
    record: dict[str, Any] = json.loads((folder / FILE_NAME).read_text())
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes a run's `provenance.json`."""
    write_text_atomically(folder / FILE_NAME, json.dumps(record, indent=2, default=str) + "\n")


def all_runs(parent: Path, pattern: str = "[!.]*") -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the runs directly below a folder; what is no run, or is damaged, is passed over."""
    for path in parent.glob(f"{pattern}/{FILE_NAME}"):
        try:
            record = read_record(path.parent)
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and {"kind", "identity", "budget", "code", "created_ns", "status"} <= record.keys():
            yield path.parent, record


def _warn_of_packages(record: dict[str, Any], launch: Launch) -> None:
    before = record.get("packages", {})
    for name, version in launch.packages.items():
        if before.get(name) != version:
            log.warning("The run began with %s %s and goes on with %s.", name, before.get(name), version)
