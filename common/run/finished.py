"""What a finished run was, kept while a launch that is to prolong it has not saved anything yet.

Such a launch changes the record, the configuration and the metrics long before its first checkpoint. Should it end
before that, however it ends, all of them must be again what they were. So they are copied into `.finished/` first. Once
`last.ckpt` is a new file, the launch has saved, and the copies mean nothing any more: the renaming that puts a
checkpoint in its place is also the moment at which everything else of the launch becomes valid.
"""

import json
from pathlib import Path

from common.run.atomic import remove, temporary_name, write_bytes_atomically, write_text_atomically
from common.run.checkpoint import LAST, NEWEST_FIRST
from common.run.lock import is_held
from common.run.queue import UnansweredError, has_place_in_queue
from common.run.record import FILE_NAME as RECORD
from common.run.record import DamagedRecordError, Record, read_record

FOLDER_NAME = ".finished"

MARKS = "checkpoints.json"
"""Tells, among the copies, which checkpoints there were: a damaged last one may be replaced by an older one of them."""


def keep_finished(folder: Path, checkpoints: str) -> None:
    """Copies what a launch will change; copies of an earlier launch are replaced.

    Args:
        folder: The run's folder.
        checkpoints: The name of the one for checkpoints in it.

    Raises:
        OSError: it cannot be read, or copied; then there are no copies.
    """
    forget_finished(folder)
    unnamed = folder / temporary_name(FOLDER_NAME)
    remove(unnamed)
    try:
        _copy(folder, unnamed, checkpoints)
        unnamed.rename(folder / FOLDER_NAME)
    except OSError:
        remove(unnamed)
        raise


def is_kept(folder: Path) -> bool:
    """Returns whether there are copies, and no checkpoint was written since they were made."""
    place = folder / FOLDER_NAME
    try:
        marks = json.loads((place / MARKS).read_text(encoding="utf-8"))
        last = next(name for name in marks if Path(name).name == LAST)
        return not place.is_symlink() and _mark_of(folder / last) in marks.values()
    except (OSError, ValueError, TypeError, AttributeError, StopIteration):
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
            original, content = folder / copy.relative_to(place), copy.read_bytes()
            if not original.is_file() or original.read_bytes() != content:
                write_bytes_atomically(original, content)
    forget_finished(folder)
    return was_kept


def forget_finished(folder: Path) -> None:
    """Removes the copies."""
    place = folder / FOLDER_NAME
    if place.exists():
        leaving = folder / temporary_name(FOLDER_NAME)
        remove(leaving)
        place.rename(leaving)  # All at once: half of them must never count.
        remove(leaving)


def settled(folder: Path) -> Path:
    """Returns where a reader finds a run's record, configuration and metrics: with the copies, where they count.

    A launch that was killed before it saved can put nothing back. Whoever looks at its run sees it as the next launch
    will: finished.
    """
    if not is_kept(folder) or is_held(folder):
        return folder
    try:
        is_waiting = has_place_in_queue(read_record(folder))
    except DamagedRecordError:
        is_waiting = False
    except UnansweredError:
        is_waiting = True
    return folder if is_waiting else folder / FOLDER_NAME


def read_settled_record(folder: Path) -> Record:
    """Returns a run's record as it counts; see `settled` and `read_record`."""
    return read_record(settled(folder))


def _copy(folder: Path, target: Path, checkpoints: str) -> None:
    target.mkdir()
    for path in _files(folder):
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(copy, path.read_bytes())
    marks = {f"{checkpoints}/{name}": _mark_of(folder / checkpoints / name) for name in NEWEST_FIRST}
    write_text_atomically(target / MARKS, json.dumps(marks))


def _files(folder: Path) -> list[Path]:
    """Returns what a launch changes before its first checkpoint."""
    found = [folder / RECORD, *folder.glob("*.csv"), *folder.glob(".hydra/*.yaml")]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _mark_of(checkpoint: Path) -> list[int]:
    """Returns what tells one checkpoint from another, by whatever name: each is written as a file of its own."""
    try:
        status = checkpoint.stat()
    except FileNotFoundError:
        return []
    return [status.st_ino, status.st_mtime_ns, status.st_size]
