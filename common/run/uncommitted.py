"""The state of the code: a commit, and what every file that differs from it holds.

Each file is read and compared with the commit by its content. Git's index tells the files' names and nothing else: no
time, flag or filter of it can hide an edit.
"""

import base64
import contextlib
import tempfile
from pathlib import Path

from common.run.code import running_places
from common.run.commit import Committed, blobs, commit_of, files_of, sizes_of
from common.run.git import GitError, Plumbing, plumbing
from common.run.keys import is_private, redacted, without_keys
from common.run.listing import NOT_CODE, PRIVATE, LeftOut, list_work_tree
from common.run.record import ChangedFile, Git
from common.run.worktree import LARGEST_BYTES, WorkTree

MOST_BYTES = 10_000_000
"""What is recorded of all changed files together."""

LARGEST_DIFFED_BYTES = 100_000
MOST_DIFF_CHARACTERS = 300_000


def git_state(root: Path, project: Path) -> Git:
    """Returns the state of a repository's code, with what could not be recorded of it; changes nothing there.

    Args:
        root: The repository's folder: a git work tree, or a folder of one.
        project: The running project's folder.
    """
    try:
        with plumbing(root) as git:
            return _state_of(git, root, project)
    except (GitError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Git(problems=[f"its whole state, since {reason}"])


def _state_of(git: Plumbing, root: Path, project: Path) -> Git:
    """Returns the state of the code.

    Raises:
        GitError: git does not tell.
    """
    commit, tree, branch, folder = commit_of(git)
    committed = files_of(git, tree)
    listing = list_work_tree(git, root, project, committed)
    for name in listing.data:
        listing.left_out.add(NOT_CODE, name)
    state = Git(commit=commit, branch=branch, folder=folder)
    _compare(state, WorkTree(git, listing, committed), project)
    state.problems = listing.left_out.lines()
    state.uncommitted_diff = _diff_of(git, state, committed)
    return state


def _compare(state: Git, tree: WorkTree, project: Path) -> None:
    """Completes a state by the files that differ.

    Args:
        state: The state.
        tree: The work tree.
        project: The running project's folder.
    """
    listing = tree.listing
    running = tuple(f"{folder.relative_to(listing.root)}/" for folder in running_places(project, listing.root))
    left_bytes = MOST_BYTES
    for name in tree.missing:
        if name not in listing.absent or name.startswith(running):
            state.deleted.append(name)
    for name in tree.differing():
        size = tree.sizes[name]
        if is_private(name):
            listing.left_out.add(PRIVATE, name)
        elif size > LARGEST_BYTES:
            listing.left_out.add(f"changed or new, and larger than {LARGEST_BYTES / 1e6:.0f} MB", name)
        elif size > left_bytes:
            reason = f"changed or new, and beyond the {MOST_BYTES / 1e6:.0f} MB that are recorded of all together"
            listing.left_out.add(reason, name)
        else:
            left_bytes -= size
            content = tree.content_of(name)
            if content is not None:
                state.changed[name] = _as_changed(name, tree.modes[name], content, listing.left_out)


def _as_changed(name: str, mode: str, content: bytes, left_out: LeftOut) -> ChangedFile:
    """Returns what is recorded of a file."""
    recorded = without_keys(content)
    if recorded != content:
        left_out.add("it holds a key, which is not recorded (take it from the environment)", name)
    with contextlib.suppress(UnicodeDecodeError):
        return ChangedFile(mode, text=recorded.decode())
    return ChangedFile(mode, base64=base64.b64encode(recorded).decode())


def content_of(changed: ChangedFile) -> bytes:
    """Returns what a file held."""
    return changed.text.encode() if changed.text is not None else base64.b64decode(changed.base64 or "")


def _diff_of(git: Plumbing, state: Git, committed: dict[str, Committed]) -> str:
    """Returns the changes for people to read: of files that are not too large, and as far as they are not too long."""
    names = [name for name in (*state.changed, *state.deleted) if name in committed]
    if not (state.changed or state.deleted):
        return ""
    with tempfile.TemporaryDirectory() as place:
        sizes = zip(names, sizes_of(git, [committed[name].hash for name in names]), strict=True)
        small = [name for name, size in sizes if size is not None and size <= LARGEST_DIFFED_BYTES]
        before = dict(zip(small, blobs(git, [committed[name].hash for name in small]), strict=True))
        after = {name: content_of(changed) for name, changed in state.changed.items()}
        for side, contents in (("a", before), ("b", after)):
            (Path(place) / side).mkdir()
            for name, content in contents.items():
                is_shown = len(content) <= LARGEST_DIFFED_BYTES and (side == "a" or name in before or name not in names)
                _write(Path(place) / side / name, content if is_shown else f"{len(content)} bytes\n".encode())
        options = ("--no-index", "--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--no-prefix")
        own = Plumbing(Path(place), {**git.environment, "GIT_CEILING_DIRECTORIES": str(Path(place).parent)})
        diff = own.attempt("diff", *options, "--full-index", "a", "b").stdout.decode(errors="replace")
    is_long = len(diff) > MOST_DIFF_CHARACTERS
    return redacted(diff[:MOST_DIFF_CHARACTERS]) + ("\n... and more; see changed\n" if is_long else "")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
