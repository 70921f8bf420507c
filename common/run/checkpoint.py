"""Checkpoints: written whole or not at all, the one before kept, read without running code from them."""

import errno
import logging
import os
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DamagedRunError, RunError
from common.run.atomic import write_atomically

log = logging.getLogger(__name__)

FOLDER_NAME = "lightning"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
BEST = "best.ckpt"


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all; the one that stood there is kept as `previous.ckpt` beside it.

    Raises:
        RunError: it could not be written; what stood there still does.
    """
    import torch

    try:
        path.parent.mkdir(exist_ok=True)  # Not the run folder, which may be gone.
        if path.is_file():
            link(path, path.with_name(PREVIOUS))
        write_atomically(path, lambda file: torch.save(checkpoint, file))
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError.
        raise RunError(
            f"The checkpoint {path} cannot be written: {_reason(error, path)}. What was saved before is intact; make "
            "room or restore the folder, and give the same command to continue."
        ) from error


def link(source: Path, target: Path) -> None:
    """Gives a file a second name, replacing what had that name before; copies no content."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(source)
    temporary.replace(target)


def last_checkpoint(run_folder: Path) -> Path | None:
    """Returns where a run's newest checkpoint stands, or None where it has none yet."""
    folder = run_folder / FOLDER_NAME
    return next((folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that holds only tensors and plain values; anything else is refused, not run.

    Raises:
        ConfigError: there is no such file, or it is not a checkpoint that can be read safely.
    """
    import torch

    if not path.is_file():
        raise ConfigError(f"There is no checkpoint {path}. Give config.ckpt_path=<a file>.")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here: pickle's, zipfile's, RuntimeError, EOFError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"The checkpoint {path} cannot be read: {reason.rstrip('.')}. It is damaged, or holds more than "
            "tensors and plain values."
        ) from error
    return checkpoint


def read_newest_checkpoint(path: Path, *, is_own: bool = False) -> dict[str, Any]:
    """Reads a run's last checkpoint or, where that is damaged, the one before.

    Args:
        path: The last checkpoint.
        is_own: Whether this run goes on writing there: the one before then takes the damaged one's place, which would
            otherwise become the one before when the next is written. Without it nothing is changed on disk.

    Raises:
        DamagedRunError: neither can be read.
    """
    try:
        return read_checkpoint(path)
    except ConfigError as error:
        previous = path.with_name(PREVIOUS)
        if path.name != LAST or not path.is_file():
            raise
        log.warning("%s\nThe one before it is used: %s", error, previous)
    try:
        checkpoint = read_checkpoint(previous)
    except ConfigError as error:
        raise DamagedRunError(
            f"{error}\nNo checkpoint of this run is good, and nothing was changed. Start afresh with "
            "config.ckpt_path=null."
        ) from error
    if is_own:
        link(previous, path)
    return checkpoint


def _reason(error: Exception, path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} is gone"
    causes = (error, error.__context__)  # Torch's writer covers a full disk up with an error of its own.
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return "the disk is full"
    return str(error).splitlines()[0]
