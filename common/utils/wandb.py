"""Weights & Biases: the key, whether to log online, and that its failures stop nothing."""

import logging
import netrc
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlparse

from common.errors import ConfigError
from common.utils.wandb_service import bounded, forget_service, has_failed

log = logging.getLogger(__name__)

KEY_FILE_NAME = "WANDB_KEY.txt"
DEFAULT_URL = "https://api.wandb.ai"
REACH_TIMEOUT_S = 5.0

INIT_TIMEOUT_S = 8
"""How long a W&B server may take to answer before the run goes on offline."""

Mode = Literal["online", "offline"]

Live = TypeVar("Live")


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
        ending = Steady()
        ending.pieces = Path(wandb.run.settings.sync_dir)
        ending.has_failed = has_failed()  # And was reported.
        ending.attempt(lambda: wandb.run.finish(exit_code=exit_status))
    if has_failed():
        forget_service()


class Steady:
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


def login_wandb() -> bool:
    """Looks for a W&B key: in `${AI_RESEARCH_PATH}/WANDB_KEY.txt`, in `WANDB_API_KEY`, then in the user's own login.

    A key from the file is put into this process's environment, and nowhere else.

    Returns:
        Whether there is a key.

    Raises:
        ConfigError: the key file cannot be read, or others could have written it.
    """
    path = Path(os.environ.get("AI_RESEARCH_PATH", ".")) / KEY_FILE_NAME
    if path.exists():
        os.environ["WANDB_API_KEY"] = _read_key(path)
    return bool(os.environ.get("WANDB_API_KEY")) or _has_own_login()


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


def unreachable_because() -> str | None:
    """Returns why W&B's server cannot be reached, proxies considered; None if it answers, whatever it says."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    url = os.environ.get("WANDB_BASE_URL", DEFAULT_URL)
    if urlparse(url).scheme not in ("http", "https"):
        return f"WANDB_BASE_URL={url!r} is no web address"
    try:
        urlopen(Request(url, method="HEAD"), timeout=REACH_TIMEOUT_S).close()  # noqa: S310  # The scheme was looked at.
    except HTTPError:
        return None
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {getattr(error, 'reason', error)}"
    return None


def _read_key(path: Path) -> str:
    status = path.stat()
    if status.st_uid != os.getuid():
        raise ConfigError(f"{path} belongs to another user, who could have you log to their account. Remove it.")
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(f"{path} can be written by everybody on this machine. Run: chmod 600 {path}")
    if status.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("%s can be read by others. Run: chmod 600 %s", path, path)
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    if not key:
        raise ConfigError(f"{path} is empty. Put your W&B key into it, or remove it to log offline.")
    return key


def _has_own_login() -> bool:
    """Returns whether `wandb login` was used on this machine: it writes to the user's netrc file."""
    host = urlparse(os.environ.get("WANDB_BASE_URL", DEFAULT_URL)).hostname
    path = os.environ.get("NETRC")
    try:
        return host is not None and netrc.netrc(path).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
