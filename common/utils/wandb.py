"""Weights & Biases: the key."""

import logging
import netrc
import os
import stat
from pathlib import Path
from urllib.parse import urlparse

from common.errors import ConfigError

log = logging.getLogger(__name__)

KEY_FILE_NAME = "WANDB_KEY.txt"
DEFAULT_URL = "https://api.wandb.ai"


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
