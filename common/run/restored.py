"""Restores the code that a run ran on, byte by byte: git's checkout, which may convert files, takes no part."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from common.errors import ConfigError
from common.run.commit import blobs, files_of
from common.run.git import GitError, Plumbing, plumbing
from common.run.record import Git
from common.run.uncommitted import content_of
from common.run.worktree import LINK

BATCH = 1000


def restore_code(git: Git | None, repository: Path, folder: Path) -> None:
    """Writes the files of the commit and of the changes that a run recorded; the repository is only read.

    Args:
        git: What the run recorded of its code.
        repository: Has the commit.
        folder: Gets the files; it is made.

    Raises:
        ConfigError: nothing was recorded, or the commit cannot be read.
    """
    if git is None or not git.commit:
        reason = "; ".join(git.problems) if git and git.problems else "nothing is on record of its code"
        raise ConfigError(f"The run recorded no commit: {reason}.")
    try:
        with plumbing(repository) as call:
            _restore_commit(call, git, folder)
    except GitError as error:
        raise ConfigError(f"The code cannot be restored from {repository}: {error}.") from error
    _write_all(folder, {name: (one.mode, content_of(one)) for name, one in git.changed.items()})


def _restore_commit(call: Plumbing, git: Git, folder: Path) -> None:
    call("rev-parse", "--git-dir")  # Says so itself, should it refuse the repository.
    if call.attempt("cat-file", "-e", f"{git.commit}^{{commit}}").returncode:
        raise ConfigError(
            f"The run's commit {git.commit} (branch {git.branch}) is not in {call.folder} any more. Fetch it from "
            f"where it still is (git fetch <remote> {git.commit}), and give the command again."
        )
    committed = files_of(call, f"{git.commit}:{git.folder}")
    kept = {name: one for name, one in committed.items() if name not in git.changed and name not in git.deleted}
    folder.mkdir(parents=True, exist_ok=True)
    links = [name for name, one in kept.items() if one.mode == LINK]
    plain = [name for name, one in kept.items() if one.mode != LINK]
    for names in (*(plain[first : first + BATCH] for first in range(0, len(plain), BATCH)), links):
        contents = blobs(call, [kept[name].hash for name in names])
        _write_all(folder, {name: (kept[name].mode, content) for name, content in zip(names, contents, strict=True)})


def _write_all(folder: Path, files: Mapping[str, tuple[str, bytes]]) -> None:
    """Writes files, links last: no file is written through a link."""
    for name, (mode, content) in sorted(files.items(), key=lambda item: item[1][0] == LINK):
        path = folder / _checked(name)
        if any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(folder)):
            raise ConfigError(f"The record is damaged: {name!r} would be written through a link.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK:
            path.symlink_to(os.fsdecode(content))
            continue
        path.write_bytes(content)
        if mode == "100755":
            path.chmod(path.stat().st_mode | 0o111)


def _checked(name: str) -> str:
    """Returns a file's name if it lies below a folder.

    Raises:
        ConfigError: it leads elsewhere.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or {"..", ".git"} & set(parts):
        raise ConfigError(f"The record is damaged: {name!r} is no file of the code.")
    return name
