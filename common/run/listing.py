"""Which files of a repository are its code: what git tracks, further code and configuration, and what runs in any case.

One list serves the record of a run and the copy that jobs run from, and it names what it leaves out.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.run.code import files_below, is_code, is_note, running_places
from common.run.git import GitError, Plumbing, plumbing
from common.run.keys import is_private

NOT_CODE = "not tracked, and neither code nor configuration (git add it, should a run need it)"
PRIVATE = "never recorded or copied, since it may hold keys"

MOST_NAMED = 5
"""How many files of a kind are named."""


@dataclass
class LeftOut:
    """What is left out, and why: by reason the files' names."""

    names: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Adds a file."""
        self.names.setdefault(reason, {})[name] = None

    def lines(self) -> list[str]:
        """Returns a line for each reason, in words for people."""
        return [f"{_some(names)}: {reason}" for reason, names in self.names.items()]


@dataclass
class Listing:
    """The files that are a repository's code.

    Attributes:
        root: The repository's folder; names are relative to it.
        tracked: What git tracks, be it there or not.
        absent: Of that, what a sparse checkout has left out of the work tree.
        code: Further code and configuration.
        data: Further files in the folders that run, which a copy needs to run.
        behind_links: Of the code and the data, what is reached through a link that leads out of the repository.
        replaced: Those links; what is behind them stands in their place.
        left_out: What is not listed.
    """

    root: Path
    tracked: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    code: dict[str, None] = field(default_factory=dict)
    data: dict[str, None] = field(default_factory=dict)
    behind_links: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    left_out: LeftOut = field(default_factory=LeftOut)

    def add(self, name: str, *, runs: bool = False) -> None:
        """Takes in a file that git does not track, or says why not.

        Args:
            name: The file.
            runs: Whether it lies where all runs in any case.
        """
        if name in self.tracked or (name in self.replaced and name not in self.behind_links):
            return
        if is_private(name):
            self.left_out.add(PRIVATE, name)
        elif is_code(name) or (self.root / name).is_symlink():
            self.code[name] = None
        elif runs and not is_note(name):
            self.data[name] = None
        else:
            self.left_out.add(NOT_CODE, name)


def list_code(root: Path, project: Path) -> Listing:
    """Lists a repository's code; without git, or a work tree, what lies in the folders that run.

    Args:
        root: The repository's folder.
        project: The running project's.
    """
    try:
        with plumbing(root) as git:
            return list_work_tree(git, root, project)
    except (GitError, OSError):
        listing = Listing(root)
        _add_what_runs(listing, project)
        return listing


def list_work_tree(git: Plumbing, root: Path, project: Path, committed: Iterable[str] = ()) -> Listing:
    """Lists the code of a git work tree.

    Args:
        git: Calls git there.
        root: The repository's folder.
        project: The running project's.
        committed: Names of files that are tracked, whatever the index says.

    Raises:
        GitError: git cannot list it.
    """
    listing = Listing(root, set(committed))
    found = git.attempt("ls-files", "-z", "-t", "--stage", "--others", "--exclude-standard")
    if found.returncode:
        raise GitError(f"git ls-files failed: {found.stderr.decode(errors='replace').strip().partition(chr(10))[0]}")
    for line in filter(None, found.stderr.decode(errors="replace").splitlines()):
        listing.left_out.add("git cannot look there", line.removeprefix("warning: "))
    others = []
    for entry in found.stdout.split(b"\0")[:-1]:
        if entry.startswith(b"? "):
            others.append(os.fsdecode(entry[2:]))
            continue
        facts, _, encoded = entry.partition(b"\t")
        name = os.fsdecode(encoded)
        if b" 160000 " in facts:  # A submodule's files are not this repository's.
            others.append(f"{name}/")
            continue
        listing.tracked.add(name)
        if facts[:1] in b"Ss":
            listing.absent.add(name)
    _add_what_runs(listing, project)
    for name in others:
        for one in _nested(root, name) if name.endswith("/") else [name]:
            if one not in listing.data:
                listing.add(one)
    return listing


def _add_what_runs(listing: Listing, project: Path) -> None:
    """Takes in what lies in the folders that run, and what links in them lead to."""
    top = os.path.realpath(listing.root)
    for folder in running_places(project, listing.root):
        for path in files_below(folder):
            name = str(path.relative_to(listing.root))
            real = os.path.realpath(path)
            if real == f"{top}/{name}":
                listing.add(name, runs=True)
                continue
            link = _link_that_leaves(listing.root, name)
            if link is None:
                listing.add(os.path.relpath(real, top), runs=True)
            else:
                listing.replaced.add(link)
                listing.tracked.discard(link)
                listing.behind_links.add(name)
                listing.add(name, runs=True)


def _link_that_leaves(root: Path, name: str) -> str | None:
    """Returns the first link on the way to a file that leads out of the repository, or is absolute."""
    top, path = os.path.realpath(root), root
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            leaves = os.path.commonpath([top, os.path.realpath(path)]) != top
            if leaves or path.readlink().is_absolute():
                return str(path.relative_to(root))
    return None


def _nested(root: Path, name: str) -> Iterator[str]:
    """Yields the files of another repository within this one, its git folder apart."""
    for folder, folders, files in os.walk(root / name):
        folders[:] = sorted(one for one in folders if one not in (".git", "__pycache__"))
        for file in sorted(one for one in files if one != ".git"):
            yield str(Path(folder, file).relative_to(root))


def _some(names: Iterable[str]) -> str:
    given = list(names)
    more = len(given) - MOST_NAMED
    return ", ".join(given[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
