"""A place where a mutant may kill whatever it sees and delete whatever it finds: none of it is anybody else's.

A mutated `os.kill(pid, 0)` ends a process that was to be asked whether it lives. So each mutant's tests run among
processes of their own, with everything read-only but one folder. Linux alone; as root, or where users may make
namespaces.
"""

import ctypes
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

NEW_MOUNTS, NEW_PROCESSES = 0x00020000, 0x20000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18


def become_root() -> None:
    """Starts this program again as root of a namespace of its own, unless it is root."""
    if os.geteuid() != 0:
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", sys.executable, *sys.argv])  # noqa: S606


def run_in_sandbox(action: Callable[[], None], writable: Path) -> None:
    """Runs something in a process of its own that can do no harm, and waits for its end; not for what it started.

    Args:
        action: What to run; what it raises ends in that process.
        writable: The only folder that it can write to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _succeed(libc.unshare(NEW_MOUNTS | NEW_PROCESSES))
    _mount(libc, "none", "/", "", RECURSIVE | PRIVATE)
    _mount(libc, str(writable), str(writable), "", BIND)
    _mount(libc, "/", "/", "", BIND | REMOUNT | READ_ONLY)

    def first() -> None:  # Signals without a handler do not reach the first process; when it ends, all others do.
        _mount(libc, "proc", "/proc", "proc", 0)
        _in_child(action)

    _in_child(first)


def _in_child(action: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:  # Pytest may have put something else in the place of `sys.stderr`.
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _mount(libc: ctypes.CDLL, source: str, target: str, kind: str, flags: int) -> None:
    _succeed(libc.mount(source.encode(), target.encode(), kind.encode(), flags, None))


def _succeed(status: int) -> None:
    if status != 0:
        raise OSError(ctypes.get_errno(), f"no sandbox: {os.strerror(ctypes.get_errno())}")
