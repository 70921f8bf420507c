"""W&B for a run, whichever engine it uses: what it is told, and that its failures stop nothing.

Most of its calls wait for an answer of its service, `wandb-core`, a process beside the run; its end does, and so does
the hook by which W&B leaves with the interpreter. None of them has a limit of its own. Here the service is killed when
one takes too long: what waits for it then raises.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from omegaconf import OmegaConf

from common.errors import ConfigError
from common.run.record import read_record
from common.utils.wandb import login_wandb

log = logging.getLogger(__name__)

FLUSH_INTERVAL_S = 0.1
"""How long W&B may keep rows in memory; in its own 15 s, all that a run logged since is lost if the run is killed."""


INIT_TIMEOUT_S = 8
"""How long a W&B server may take to answer before the run goes on offline."""

Mode = Literal["online", "offline"]

Live = TypeVar("Live")


def run_id(folder: Path) -> str:
    """Returns the W&B id of a run, which is on record, so that every launch logs to one W&B run."""
    return read_record(folder).wandb_id


def config_of(folder: Path) -> Any:
    """Returns a run's configuration as plain containers."""
    # libyaml's loader: the pure Python one needs a fifth of a second here.
    config = OmegaConf.create(yaml.load((folder / ".hydra" / "config.yaml").read_bytes(), yaml.CSafeLoader))
    return OmegaConf.to_container(config, resolve=True)


def wandb_settings(folder: Path) -> Any:
    """Returns W&B's settings for a run, and keeps its files in the run's folder."""
    import wandb

    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb")  # Pictures of offline runs wait here, not in the user's home.
    os.environ.pop("WANDB_SERVICE", None)  # Another process's service ends when that does.
    return wandb.Settings(init_timeout=INIT_TIMEOUT_S, silent=True, x_transaction_log_flush_interval=FLUSH_INTERVAL_S)


def start_where_reachable(folder: Path, start: Callable[[Mode], Live]) -> Live | None:
    """Starts a W&B run: online, or offline without a key or a network.

    Args:
        folder: The run's folder.
        start: Starts it.

    Returns:
        None where W&B cannot even log offline, which was said.

    Raises:
        ConfigError: W&B refuses what it is asked for.
    """
    is_off = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    has_key = login_wandb()
    reason = "WANDB_MODE says so" if is_off else "there is no key" if not has_key else None
    if reason is None:
        try:
            return _started(start, "online")
        except Exception as error:  # Of a socket, of asyncio, of the service, of W&B's own.
            log.debug("W&B could not start online.", exc_info=error)
        reason = f"the server did not answer within {INIT_TIMEOUT_S} s"
    log.info("W&B logs offline: %s. Upload later with: %s", reason, sync_command(folder))
    try:
        return _started(start, "offline")
    except Exception as error:
        _refuse_mistake(error)
        log.warning("W&B cannot start (%s), and gets nothing from this launch. metrics.csv is complete.", _said(error))
        return None


def end_open_run(exit_status: int = 0) -> None:
    """Ends the W&B run that a job has left open, and the service where it failed: the next job begins afresh.

    Args:
        exit_status: How the job ended: W&B shows another status than 0 as a failure.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None:
        return
    if wandb.run is not None:
        ending = BestEffort()
        ending.pieces = Path(wandb.run.settings.sync_dir)
        ending.has_failed = has_failed()  # And was reported.
        ending.attempt(lambda: wandb.run.finish(exit_code=exit_status))
    if has_failed():
        forget_service()


class BestEffort:
    """Gives W&B up at its first failure: it is reported once, and the run goes on.

    Attributes:
        has_failed: Whether that has come.
        pieces: Where W&B keeps the run, which is what a person uploads then.
    """

    has_failed = False
    pieces: Path = Path("wandb")

    def attempt(self, action: Callable[[], object]) -> None:
        """Does something with W&B, unless that has failed before; see `bounded`."""
        if self.has_failed:
            return
        try:
            with bounded():
                action()
        except Exception as error:  # W&B raises its own errors, and those of sockets, of asyncio and of its service.
            self.has_failed = True
            log.warning(
                "W&B failed (%s) and gets nothing more from this launch. The run goes on; its files are complete. "
                "Upload what W&B has with: wandb sync %s",
                _said(error),
                self.pieces,
            )


def sync_command(run_folder: Path) -> str:
    """Returns the command that uploads a folder's offline W&B runs."""
    return f"wandb sync {run_folder / 'wandb'}/offline-run-*"


def _started(start: Callable[[Mode], Live], mode: Mode) -> Live:
    """Starts a W&B run, or leaves nothing of it: the service would refuse the id of a run that it could not start."""
    try:
        with bounded():
            return start(mode)
    except BaseException:
        forget_service()
        raise


def _refuse_mistake(error: Exception) -> None:
    """Raises if it is the configuration that W&B does not like."""
    from wandb.errors import UsageError

    if isinstance(error, UsageError | ValueError):
        raise ConfigError(f"W&B refuses what logger.* of the task asks for: {error}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


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
