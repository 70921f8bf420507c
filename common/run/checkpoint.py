"""Checkpoints: written whole or not at all, the one before kept, read without running code from them.

A run's newest is `last.ckpt`, the one before it `previous.ckpt`, and the one with the best network `best.ckpt`. Each is
a whole state of the run, so that it can go on from any: where a newer one is damaged, the next older one is used; see
`common.run.mending`.
"""

import errno
import logging
import math
import stat
import zipfile
from pathlib import Path
from typing import Any

from common.errors import ConfigError, RunError
from common.run.atomic import temporary_name, write_atomically
from common.run.files import is_plain_file

log = logging.getLogger(__name__)

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"
BEST = "best.ckpt"
NEWEST_FIRST = (LAST, PREVIOUS, BEST)

BEST_SO_FAR = "best_so_far"
"""Under this key each checkpoint of a run says how good its best network was by then, and whether that is its own."""

NONE_YET = {"loss": math.inf, "is_own": False}

ZIP_MAGIC = b"PK"
NO_STATE = "it is damaged: what it holds is not a run's state"


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all; the one that stood there is kept as `previous.ckpt` beside it.

    Raises:
        RunError: it could not be written; what stood there still does.
    """
    import torch

    def keep_previous() -> None:
        if path.is_file():
            link(path, path.with_name(PREVIOUS))

    try:
        path.parent.mkdir(exist_ok=True)  # Not the run folder, which may be gone.
        write_atomically(path, lambda file: torch.save({BEST_SO_FAR: NONE_YET, **checkpoint}, file), keep_previous)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError.
        raise RunError(
            f"The checkpoint {path} cannot be written: {_reason(error, path)}. What was saved before is intact; make "
            "room or restore the folder, and give the same command to continue."
        ) from error


def link(source: Path, target: Path) -> None:
    """Gives a file a second name, replacing what had that name before; copies no content."""
    temporary = target.with_name(temporary_name(target.name))
    temporary.unlink(missing_ok=True)
    temporary.hardlink_to(source)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # Where the two are one file already, renaming does nothing at all.


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest checkpoint in a run's folder of checkpoints, or None where there is none yet."""
    return next((folder / name for name in NEWEST_FIRST if _kind_of(folder / name)), None)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that holds only tensors and plain values; anything else is refused, not run.

    Raises:
        ConfigError: there is no such file, or it is not a checkpoint that can be read safely.
    """
    import torch

    kind = _kind_of(path)
    if kind != stat.S_IFREG:
        what = f"{path} is not a file" if kind else f"There is no checkpoint {path}"
        raise ConfigError(f"{what}. Give config.ckpt_path=<a file>.")
    fault = _fault_of(path)
    try:
        checkpoint = None if fault else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here: pickle's, RuntimeError, EOFError.
        raise _unreadable(path, "it is damaged, or holds more than tensors and plain values") from error
    if fault is not None:
        raise _unreadable(path, fault)
    if not isinstance(checkpoint, dict):
        raise _unreadable(path, NO_STATE)
    return checkpoint


def read_state(path: Path) -> dict[str, Any]:
    """Reads a run's own checkpoint, from which it goes on.

    Raises:
        ConfigError: it cannot be read, or is no run's state.
    """
    state = read_checkpoint(path)
    if BEST_SO_FAR not in state:
        raise _unreadable(path, NO_STATE)
    return state


def is_whole(path: Path) -> bool:
    """Returns whether a checkpoint has all of its content, by its checksums."""
    return is_plain_file(path.parent, path.name) and zipfile.is_zipfile(path) and _fault_of(path) is None


def read_newest_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a run's last checkpoint or, where that cannot be read, the next older one; changes nothing.

    Raises:
        ConfigError: none can be read.
    """
    names = NEWEST_FIRST[NEWEST_FIRST.index(path.name) :] if path.name in NEWEST_FIRST else (path.name,)
    older = [path.with_name(name) for name in names[1:] if _kind_of(path.with_name(name))]
    try:
        return read_checkpoint(path)
    except ConfigError as error:
        if not older:
            raise
        log.warning("%s An older one is used: %s", error, older[0])
        return read_newest_checkpoint(older[0])


def _fault_of(path: Path) -> str | None:
    """Returns what is wrong with a checkpoint's bytes, or None; torch itself compares no checksums."""
    try:
        with path.open("rb") as file:
            if file.read(2) != ZIP_MAGIC:  # Files of torch before 1.6 are none.
                return None if path.stat().st_size else "it is empty"
        with zipfile.ZipFile(path) as archive:
            return None if archive.testzip() is None else "it is damaged: its checksums are wrong"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except Exception:  # A damaged directory makes the module raise many types.
        return "it is damaged, or cut short"


def _kind_of(path: Path) -> int | None:
    """Returns what stands at a path, as `stat` names it; None where nothing is, or where it cannot be looked at."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except OSError:
        return None


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"The checkpoint {path} cannot be read: {reason}.")


def _reason(error: Exception, path: Path) -> str:
    if not path.parent.is_dir():
        return f"the folder {path.parent} is gone"
    causes = (error, error.__context__)  # Torch's writer covers a full disk up with an error of its own.
    if any(isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) for cause in causes):
        return "the disk is full"
    return str(error).splitlines()[0]
