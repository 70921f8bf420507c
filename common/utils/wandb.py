"""Weights & Biases: the key, whether to log online, and that its failures stop nothing."""

import logging
import netrc
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlparse

from common.errors import ConfigError

log = logging.getLogger(__name__)

KEY_FILE_NAME = "WANDB_KEY.txt"
DEFAULT_URL = "https://api.wandb.ai"
REACH_TIMEOUT_S = 5.0

INIT_TIMEOUT_S = 8
"""How long a W&B server may take to answer before the run goes on offline."""

Mode = Literal["online", "offline"]

Live = TypeVar("Live")


def start_where_reachable(folder: Path, start: Callable[[Mode], Live | None]) -> Live:
    """Starts a W&B run: online, or offline without a key or a network.

    Args:
        folder: The run's folder.
        start: Starts it, or returns None where the server does not answer.
    """
    is_off = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    has_key = login_wandb()
    reason = "WANDB_MODE says so" if is_off else "there is no key" if not has_key else None
    if reason is None:
        live = start("online")
        if live is not None:
            return live
        reason = f"the server did not answer within {INIT_TIMEOUT_S} s"
    log.info("W&B logs offline: %s. Upload later with: %s", reason, sync_command(folder))
    live = start("offline")
    assert live is not None
    return live


class Steady:
    """Gives something up at its first failure: it is reported once, and the run goes on."""

    has_failed = False

    def attempt(self, action: Callable[[], object]) -> None:
        """Does something with W&B, unless that has failed before."""
        if self.has_failed:
            return
        try:
            action()
        except Exception as error:  # W&B raises its own errors, and those of sockets, of asyncio and of its service.
            self.has_failed = True
            log.warning(
                "W&B failed (%s: %s) and gets nothing more from this launch. The run goes on; its files are complete.",
                type(error).__name__,
                error,
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
        key = path.read_text().strip()
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
