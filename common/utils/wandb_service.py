"""W&B's service, `wandb-core`: a process beside the run that may hang, and must not hang the run.

Most of W&B's calls wait for an answer of it, its end does, and so does the hook by which W&B leaves with the
interpreter. None of them has a limit of its own. Here the service is killed when one takes too long: what waits for it
then raises.
"""

import atexit
import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 60.0
"""How long W&B may take for anything, its end included."""

NAME = "wandb-core"

POLL_S = 0.25


class _Watch(threading.Thread):
    """Kills the service at a deadline."""

    def __init__(self) -> None:
        super().__init__(daemon=True, name="wandb-watch")
        self.deadline_s = math.inf
        self.has_killed = False
        self.start()

    def run(self) -> None:
        """Looks at the clock."""
        while True:
            time.sleep(POLL_S)
            if time.monotonic() > self.deadline_s:
                self.deadline_s, self.has_killed = math.inf, True
                kill_service()


_state: dict[str, _Watch] = {}

_failures: list[BaseException] = []
"""What went wrong with the service that runs now."""


@contextmanager
def bounded() -> Iterator[None]:
    """Lets W&B take at most `TIMEOUT_S` for the block.

    Raises:
        TimeoutError: it took longer; its service was killed.
    """
    watch = _watch()
    before, watch.has_killed = watch.deadline_s, False
    watch.deadline_s = min(before, time.monotonic() + TIMEOUT_S)
    try:
        yield
    except BaseException as error:
        _failures.append(error)
        if watch.has_killed and isinstance(error, Exception):
            raise TimeoutError(f"its service did not answer within {TIMEOUT_S:.0f} s and was ended") from error
        raise
    finally:
        watch.deadline_s = before
        # Hooks run in the reverse of their order: this one before W&B's, which waits for the service.
        atexit.unregister(_bound_exit)
        atexit.register(_bound_exit)
        for handler in logging.getLogger("wandb").handlers:
            handler.handleError = _ignore  # type: ignore[method-assign, assignment]  # A full disk would print each line's traceback.


def has_failed() -> bool:
    """Returns whether anything went wrong with the service that runs now."""
    return bool(_failures)


def forget_service() -> None:
    """Ends the service and what W&B keeps of it in this process; the next run starts another one."""
    wandb = sys.modules.get("wandb")
    if wandb is None:
        return
    from wandb.sdk.lib.module import unset_globals

    # It ends the process with the status of a service that was killed.
    with contextlib.suppress(Exception, SystemExit), bounded():
        wandb.teardown()
    kill_service()
    unset_globals()  # type: ignore[no-untyped-call]
    _failures.clear()


def kill_service() -> None:
    """Kills this process's service, and what that has started, if there is one."""
    for pid in pids_of_service(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # W&B makes it a session of its own.


def pids_of_service(parent: int) -> list[int]:
    """Returns the ids of a process's children that are W&B's service: none where there is no `/proc` to tell."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            state, parent_of_it = rest.split()[:2]
            if name == NAME and int(parent_of_it) == parent and state != "Z":
                found.append(int(path.parent.name))
    return found


def _watch() -> _Watch:
    if "watch" not in _state or not _state["watch"].is_alive():  # A fork has no threads.
        _state["watch"] = _Watch()
    return _state["watch"]


def _bound_exit() -> None:
    _watch().deadline_s = time.monotonic() + TIMEOUT_S


def _ignore(_record: logging.LogRecord) -> None:
    """Stands for what a handler does that cannot write."""
