"""The folder of a run: made once, never shared."""

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

from common.errors import ConfigError
from common.run.atomic import NEW, folder_prefix, remove_leftovers
from common.run.files import check_files
from common.run.mending import mend_checkpoints
from common.utils.misc import REMOTE, repository_path
from common.utils.text import shown

MAX_NAME_BYTES = 120
"""Leaves room for the suffixes that programs append to a name; file systems allow 255 bytes, encrypted ones 143."""


def reserve_folder(wanted: Path, prepare: Callable[[Path], None]) -> Path:
    """Makes a new folder, named as wanted or, where that exists, with a number appended.

    The folder is made and filled under another name and then renamed, which is atomic: two launches in the same second
    never share one, and no process, killed or not, leaves one that is half made.

    Args:
        wanted: The folder to make; its parents are made as needed.
        prepare: Writes the folder's first files.

    Returns:
        The folder made.

    Raises:
        ConfigError: the place cannot be written to.
    """
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(wanted.parent)
        unnamed = Path(tempfile.mkdtemp(prefix=folder_prefix(NEW), dir=wanted.parent))
        unnamed.chmod(_mode_of_new(unnamed))
        prepare(unnamed)
        return _rename(unnamed, wanted)
    except OSError as error:
        raise ConfigError(
            f"The run's folder {wanted} cannot be made: {error.strerror}. Outputs go below AI_RESEARCH_PATH; "
            "set it to a folder that you may write to."
        ) from error


def _mode_of_new(folder: Path) -> int:
    """Returns the permissions of a folder that is made here: by the umask and, in a group's folder, with its mark."""
    probe = folder / "probe"
    probe.mkdir()
    mode = probe.stat().st_mode
    probe.rmdir()
    return stat.S_IMODE(mode)


def make_ready(folder: Path, checkpoints: str) -> list[str]:
    """Looks whether a launch can work in its folder, and removes what dead processes left half made in and beside it.

    Args:
        folder: The run's folder, locked for this process.
        checkpoints: The name of the one for checkpoints in it.

    Returns:
        What was damaged, and what is used instead.

    Raises:
        ConfigError: something in the folder is not what its name says, or is lost; nothing was changed.
    """
    check_files(folder, checkpoints)
    mended = mend_checkpoints(folder / checkpoints)
    for place in (folder, folder / checkpoints):
        remove_leftovers(place, is_locked=True)
    remove_leftovers(folder.parent)
    return mended


def _rename(unnamed: Path, wanted: Path) -> Path:
    for number in count():
        folder = wanted if number == 0 else wanted.with_name(f"{wanted.name}_{number}")
        try:
            unnamed.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) or not folder.exists():
                raise
        else:
            return folder
    raise AssertionError("count() does not end")


def name_of_point(index: int, num_points: int, overrides: list[str]) -> str:
    """Returns a folder name for one point of a sweep: readable, unique, and safe on any file system.

    Args:
        index: The point's position in the sweep, from 0.
        num_points: How many points the sweep has.
        overrides: The point's own overrides, for example `["litmodule.optimizer.lr=0.01"]`.
    """
    text = ",".join(overrides)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)
    number = f"{index:0{len(str(num_points - 1))}d}"
    name = f"{number}_{safe}".rstrip("._")
    if (name != f"{number}_{text}" and text) or len(name) > MAX_NAME_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{name[: MAX_NAME_BYTES - len(digest) - 1]}_{digest}"
    return name


def outputs_root() -> Path:
    """Returns the folder below which data and outputs lie: AI_RESEARCH_PATH, or the repository.

    Raises:
        ConfigError: the variable names no folder of this machine.
    """
    given = os.environ.get("AI_RESEARCH_PATH")
    if given and (REMOTE.match(given) or not given.isprintable()):
        raise ConfigError(
            f"AI_RESEARCH_PATH={shown(given)} is no folder of this machine. Set it to one, such as a mounted disk; "
            "what lies elsewhere is copied there."
        )
    return Path(given).expanduser().absolute() if given else repository_path()
