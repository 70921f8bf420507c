"""One writer per folder.

On one machine the operating system's lock decides; it goes with the process that holds it, however that ends. From
another machine, where such locks may not reach, the age of the lock file tells: its holder touches it every
`HEARTBEAT_S`, and one that was not touched for `STALE_S` has no holder any more.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

FILE_NAME = ".lock"
HEARTBEAT_S = 10.0
STALE_S = 60.0
ORPHAN_S = 10.0
"""How long workers of a killed process may outlive it, and hold the lock that they inherited."""


class FolderLock:
    """The right to write to a folder.

    Args:
        folder: The folder to lock.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._descriptor: int | None = None
        self._released = threading.Event()

    def acquire(self) -> bool:
        """Takes the lock if it is free.

        Returns:
            Whether this process has it now.
        """
        holder = read_holder(self.path)
        if holder is not None and holder["host"] != socket.gethostname() and _age_s(self.path) < STALE_S:
            return False
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        if not self._take(descriptor, holder):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        self._released.clear()
        threading.Thread(target=self._beat, daemon=True, name="folder-lock").start()
        return True

    def release(self) -> None:
        """Gives the lock back."""
        if self._descriptor is not None:
            self._released.set()
            os.ftruncate(self._descriptor, 0)
            with contextlib.suppress(OSError):  # Otherwise a worker that inherited the descriptor would hold on to it.
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def moved(self, folder: Path) -> None:
        """Says that the folder, and the lock file in it, was renamed."""
        self.path = folder / FILE_NAME

    def _take(self, descriptor: int, holder: dict[str, Any] | None) -> bool:
        deadline = time.monotonic() + ORPHAN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if holder is None or is_alive(holder) or time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
            except OSError:  # A file system without locks: the process that is named decides.
                return holder is None or not is_alive(holder)

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def is_held(folder: Path) -> bool:
    """Returns whether a process holds a folder's lock, without touching it; see the top of this file."""
    path = folder / FILE_NAME
    holder = read_holder(path)
    if holder is None:
        return False
    return is_alive(holder) if holder["host"] == socket.gethostname() else _age_s(path) < STALE_S


def read_holder(path: Path) -> dict[str, Any] | None:
    """Returns who holds, or held, a lock: host, pid and start time; None where nobody does."""
    try:
        holder: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    is_whole = isinstance(holder, dict) and {"host", "pid", "start_time"} <= holder.keys()
    return holder if is_whole else None


def is_alive(holder: dict[str, Any]) -> bool:
    """Returns whether the process that a lock names still runs on this machine."""
    return bool(holder["host"] == socket.gethostname() and process_start_time(holder["pid"]) == holder["start_time"])


def process_start_time(pid: int) -> int | None:
    """Returns when a process started, in clock ticks since boot; a reused number has another. None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "start_time": process_start_time(os.getpid())}


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime
