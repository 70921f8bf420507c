"""The files of a run's folder: used only if they are what they should be, and never through a link.

A folder may lie where others write too: what stands under a known name may be a link to a file elsewhere, a pipe that
never answers, or a folder. Links above the run's folder are followed: the root of all outputs may be one.
"""

import errno
import os
import stat
import tempfile
from io import BufferedReader, BufferedWriter
from pathlib import Path

from common.errors import ConfigError

KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

OWN_FOLDERS = (".hydra", "wandb", ".code", ".slurm")
OWN_FILES = (".lock", "*.json", "*.csv", "*.log", "*.pt", ".hydra/*.yaml")
"""What a launch writes to in its folder, beside checkpoints. Pictures are replaced as a whole, whatever stood there."""

REMEDY = "Move it away or mend it, and give the same command again."


class UnusableFileError(ConfigError, OSError):
    """Something in a run's folder is not what its name says, or may not be used: a reader passes it over."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.strerror = text


def open_file(folder: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """Opens a regular file in a run's folder, without following a link and without waiting for a pipe.

    Args:
        folder: The run's folder.
        name: The file's path below it.
        flags: As for `os.open`.

    Returns:
        The descriptor.

    Raises:
        FileNotFoundError: there is none.
        UnusableFileError: what is there is no regular file, or may not be used.
    """
    fault = fault_of(folder, name)
    if fault is not None:
        raise UnusableFileError(f"{fault}. {REMEDY}")
    try:
        descriptor = os.open(folder / name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnusableFileError(f"{folder / name} cannot be used: {_reason(error)}. {REMEDY}") from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)  # It became something else since it was looked at.
    raise UnusableFileError(f"{folder / name} is not a file. {REMEDY}")


def open_to_read(folder: Path, name: str) -> BufferedReader:
    """Opens a regular file in a run's folder for reading; see `open_file`."""
    return os.fdopen(open_file(folder, name), "rb")


def open_to_append(folder: Path, name: str) -> BufferedWriter:
    """Opens a regular file in a run's folder for writing at its end, made where there is none; see `open_file`."""
    return os.fdopen(open_file(folder, name, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def read_bytes(folder: Path, name: str) -> bytes:
    """Returns what a regular file in a run's folder holds; see `open_file`."""
    with open_to_read(folder, name) as file:
        return file.read()


def is_plain_file(folder: Path, name: str) -> bool:
    """Returns whether a regular file stands under a name in a run's folder, and no link leads there."""
    return fault_of(folder, name) is None and os.path.lexists(folder / name)


def fault_of(folder: Path, name: str, wanted: int = stat.S_IFREG) -> str | None:
    """Returns what stands in a run's folder where something else belongs, or None: also where nothing is there.

    Args:
        folder: The run's folder.
        name: A path below it.
        wanted: What belongs there; folders belong on the way.
    """
    parts = Path(name).parts
    for depth in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:depth])
        belongs = wanted if depth == len(parts) else stat.S_IFDIR
        try:
            kind = stat.S_IFMT(path.lstat().st_mode)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{path} cannot be looked at: {_reason(error)}"
        if kind != belongs:
            return f"{path} is {KINDS[kind]}, where {KINDS[belongs]} belongs"
    return None


def check_files(folder: Path, checkpoints: str) -> None:
    """Checks that a launch can work in a folder: it is whole as far as kinds and permissions go.

    Args:
        folder: The run's folder.
        checkpoints: The name of the one for checkpoints in it.

    Raises:
        UnusableFileError: something is not what its name says, or may not be written to; nothing was changed.
    """
    folders = ["", *(name for name in (*OWN_FOLDERS, checkpoints) if os.path.lexists(folder / name))]
    patterns = (*OWN_FILES, f"{checkpoints}/*.ckpt")
    names = {str(path.relative_to(folder)) for pattern in patterns for path in folder.glob(pattern)}
    found = [(name, stat.S_IFDIR) for name in folders] + [(name, stat.S_IFREG) for name in sorted(names)]
    for name, kind in found:
        fault = fault_of(folder, name, kind)
        needed = os.R_OK | os.W_OK | (os.X_OK if kind == stat.S_IFDIR else 0)
        if fault is None and not os.access(folder / name, needed, effective_ids=True):
            fault = f"{folder / name} may not be read and written by this user"
        if fault is not None:
            raise UnusableFileError(f"{fault}. {REMEDY}")


def is_of_another_owner(folder: Path) -> bool:
    """Returns whether a folder was made by another user than the one that this process runs as.

    Some file systems give every file one owner, whoever makes it: what this process makes beside the folder tells.
    """
    owner = folder.lstat().st_uid
    if owner == os.geteuid():
        return False
    try:
        with tempfile.TemporaryFile(dir=folder.parent) as probe:
            return os.fstat(probe.fileno()).st_uid != owner
    except OSError:
        return True


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this user may not"
    return (error.strerror or str(error)).lower()
