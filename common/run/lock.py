"""One writer per folder.

On one machine the operating system's lock decides; it goes with the process that holds it, however that ends. Where the
file system has no such locks, the process that the lock file names decides.

To other machines such locks may not reach. So the holder touches the lock file every `HEARTBEAT_S`, and what tells is
that it changes, not what a clock says: machines' clocks differ. A file that was touched less than `LATE_S` ago, by the
file system's own clock, has a holder. Any other, older or dated in the future, is watched for `WATCH_S`: it has a
holder if it changes meanwhile. So a holder on another machine may be silent for nearly two minutes, and a dead one's
folder is free after `WATCH_S`. One that was released names nobody, and is free at once.
"""

import contextlib
import fcntl
import json
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from common.run.files import UnusableFileError, open_file, read_bytes
from common.run.process import Process, process_of, this_process

log = logging.getLogger(__name__)

FILE_NAME = ".lock"
CLAIM_NAME = ".lock.claim"
"""Where there are no locks: made by the one process that may look and take at a time."""

HEARTBEAT_S = 10.0
LATE_S = 60.0
WATCH_S = 45.0
POLL_S = 1.0
GRAIN_S = 2.0
"""How coarse a file system's clock may be."""

ORPHAN_S = 10.0
"""How long workers of a killed process may outlive it, and hold the lock that they inherited."""


class FolderLock:
    """The right to write to a folder.

    Args:
        folder: The folder to lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptor: int | None = None
        self._released = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self) -> bool:
        """Takes the lock if it is free.

        Returns:
            Whether this process has it now.

        Raises:
            ConfigError: what stands in the lock file's place is no file, or may not be used.
        """
        holder = read_holder(self.folder)
        if holder is not None and not holder.is_here and _is_held_elsewhere(self.folder, holder):
            return False
        try:
            descriptor = open_file(self.folder, FILE_NAME, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:  # The folder is gone.
            return False
        if not self._take(descriptor, holder):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        self._released.clear()
        self._heart = threading.Thread(target=self._beat, args=(descriptor,), daemon=True, name="folder-lock")
        self._heart.start()
        return True

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor is None:
            return
        self._released.set()
        if self._heart is not None:
            self._heart.join(POLL_S)  # It touches the file by its descriptor, whose number is another file's later.
        os.ftruncate(self._descriptor, 0)
        with contextlib.suppress(OSError):  # Otherwise a worker that inherited the descriptor would hold on to it.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)
        self._descriptor = None

    def moved(self, folder: Path) -> None:
        """Says that the folder, and the lock file in it, was renamed."""
        self.folder = folder

    def _take(self, descriptor: int, seen: Process | None) -> bool:
        """Takes the lock by an open file, and signs it, unless another process has it or has just had it."""
        deadline = time.monotonic() + ORPHAN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._sign(descriptor, seen)
            except BlockingIOError:
                if seen is None or seen.is_alive or time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            except OSError:  # A file system without locks: the process that is named decides.
                with _sole_claim(self.folder) as is_sole:
                    return is_sole and not _is_named_alive(self.folder) and self._sign(descriptor, seen)

    def _sign(self, descriptor: int, seen: Process | None) -> bool:
        """Writes who holds the lock, after a second look: the file, or its holder, may have changed since the first."""
        holder = read_holder(self.folder)
        is_taken_elsewhere = holder is not None and not holder.is_here and holder != seen
        if is_taken_elsewhere or not _is_same_file(descriptor, self.folder):
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(this_process().as_json()).encode(), 0)
        return True

    def _beat(self, descriptor: int) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(descriptor)


def is_held(folder: Path) -> bool:
    """Returns whether a process seems to hold a folder's lock, without touching or watching it.

    Of another machine's holder the lock's age tells here, by this machine's clock: a listing cannot wait.
    """
    holder = read_holder(folder)
    if holder is None or holder.is_here:
        return holder is not None and holder.is_alive
    mark = _mark(folder)
    return mark is not None and abs(time.time() - mark / 1e9) < LATE_S


def read_holder(folder: Path) -> Process | None:
    """Returns who holds, or held, a folder's lock; None where nobody does, or where that cannot be read."""
    try:
        return process_of(json.loads(read_bytes(folder, FILE_NAME)))
    except (OSError, ValueError, RecursionError):
        return None


def _is_held_elsewhere(folder: Path, holder: Process) -> bool:
    """Returns whether a process of another machine goes on touching the lock; see the top of this file."""
    first = _mark(folder)
    if first is None:
        return False
    age_s = _now_s(folder) - first / 1e9
    if -GRAIN_S <= age_s < LATE_S:
        return True
    when = f"{age_s:.0f} s ago" if age_s >= 0 else f"{-age_s:.0f} s in the future"
    log.warning(
        "%s names process %d on %s, which touched it last %s: watching for %.0f s whether it goes on.",
        *(folder / FILE_NAME, holder.pid, holder.host, when, WATCH_S),
    )
    deadline = time.monotonic() + WATCH_S
    while time.monotonic() < deadline:
        if _mark(folder) != first:
            return read_holder(folder) is not None
        time.sleep(POLL_S)
    return False


def _mark(folder: Path) -> int | None:
    """Returns when the lock was touched, in nanoseconds; None where there is none.

    The file is opened for it, which makes a network's file system ask anew.
    """
    try:
        descriptor = open_file(folder, FILE_NAME)
    except OSError:
        return None
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def _now_s(folder: Path) -> float:
    """Returns the time by the clock that dates the files of a folder: on a network, the server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def _is_same_file(descriptor: int, folder: Path) -> bool:
    """Returns whether an open lock file is still the one in the folder: somebody may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), (folder / FILE_NAME).lstat())
    except OSError:
        return False


def _is_named_alive(folder: Path) -> bool:
    holder = read_holder(folder)
    return holder is not None and holder.is_alive


@contextlib.contextmanager
def _sole_claim(folder: Path) -> Iterator[bool]:
    """Yields whether this process alone may look at a lock and take it, where the system itself locks nothing."""
    path = folder / CLAIM_NAME
    if os.path.lexists(path) and not _is_claimed(folder):
        path.unlink(missing_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        yield False
        return
    try:
        os.write(descriptor, json.dumps(this_process().as_json()).encode())
        yield True
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)


def _is_claimed(folder: Path) -> bool:
    """Returns whether a live process has made its claim; one that is not yet signed is taken for such for a while."""
    try:
        content = read_bytes(folder, CLAIM_NAME)
        age_s = _now_s(folder) - (folder / CLAIM_NAME).lstat().st_mtime
        maker = process_of(json.loads(content)) if content else None
    except FileNotFoundError:  # It has just been given back: whoever had it may have taken the lock.
        return True
    except (UnusableFileError, ValueError):
        return False
    return maker.is_alive if maker is not None and maker.is_here else abs(age_s) < LATE_S
