"""What a finished run was, kept while a launch that is to prolong it has not saved anything yet.

Such a launch changes the record, the configuration and the metrics long before its first checkpoint. Should it end
before that, however it ends, all of them must be again what they were. So they are copied into `.finished/` first. Once
`last.ckpt` is another file the launch has saved, and the copies mean nothing any more: the renaming that puts a
checkpoint in its place is also the moment at which everything else of the launch becomes valid.
"""

import json
import os
import shutil
from pathlib import Path

from common.run.atomic import write_bytes_atomically
from common.run.checkpoint import FOLDER_NAME as CHECKPOINTS
from common.run.checkpoint import LAST
from common.run.lock import is_held
from common.run.queue import is_in_queue
from common.run.record import FILE_NAME as RECORD
from common.run.record import DamagedRecordError, Record, read_record

FOLDER_NAME = ".finished"

MARK = "last_checkpoint.json"
"""Tells, among the copies, which checkpoint was the last one."""


def keep_finished(folder: Path) -> None:
    """Copies what a launch will change; copies of an earlier launch are replaced."""
    forget_finished(folder)
    unnamed = folder / f".{FOLDER_NAME}.{os.getpid()}.tmp"
    for path in _files(folder):
        copy = unnamed / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (unnamed / MARK).write_text(json.dumps(_mark_of(folder)))
    unnamed.rename(folder / FOLDER_NAME)


def is_kept(folder: Path) -> bool:
    """Returns whether there are copies, and no checkpoint was written since they were made."""
    try:
        return bool(json.loads((folder / FOLDER_NAME / MARK).read_text()) == _mark_of(folder))
    except (OSError, ValueError):
        return False


def put_back_finished(folder: Path) -> bool:
    """Puts everything back as it was, unless the launch has saved; the folder's lock must be held.

    It may be cut off anywhere, and done again.

    Returns:
        Whether there was something to put back.
    """
    was_kept = is_kept(folder)
    if was_kept:
        place = folder / FOLDER_NAME
        for copy in _files(place):
            write_bytes_atomically(folder / copy.relative_to(place), copy.read_bytes())
    forget_finished(folder)
    return was_kept


def forget_finished(folder: Path) -> None:
    """Removes the copies."""
    place = folder / FOLDER_NAME
    if place.exists():
        leaving = folder / f".{FOLDER_NAME}.{os.getpid()}.tmp"
        shutil.rmtree(leaving, ignore_errors=True)
        place.rename(leaving)  # All at once: half of them must never count.
        shutil.rmtree(leaving, ignore_errors=True)


def settled(folder: Path) -> Path:
    """Returns where a reader finds a run's record, configuration and metrics: with the copies, where they count.

    A launch that was killed before it saved can put nothing back. Whoever looks at its run sees it as the next launch
    will: finished.
    """
    if not (folder / FOLDER_NAME).is_dir() or not is_kept(folder) or is_held(folder):
        return folder
    try:
        is_waiting = is_in_queue(read_record(folder))
    except DamagedRecordError:
        is_waiting = False
    return folder if is_waiting else folder / FOLDER_NAME


def read_settled_record(folder: Path) -> Record:
    """Returns a run's record as it counts; see `settled` and `read_record`."""
    return read_record(settled(folder))


def _files(folder: Path) -> list[Path]:
    """Returns what a launch changes before its first checkpoint."""
    found = [folder / RECORD, *folder.glob("*.csv"), *folder.glob(".hydra/*.yaml")]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _mark_of(folder: Path) -> list[int]:
    """Returns what tells one `last.ckpt` from another; each is a file of its own, renamed to this name."""
    try:
        status = (folder / CHECKPOINTS / LAST).stat()
    except FileNotFoundError:
        return []
    return [status.st_ino, status.st_mtime_ns, status.st_size]
