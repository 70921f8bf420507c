"""What git has of a commit: its files, and what they hold."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.run.git import GitError, Plumbing


@dataclass
class Committed:
    """A file of a commit: git's mode and hash."""

    mode: str
    hash: str


def commit_of(git: Plumbing) -> tuple[str, str, str, str]:
    """Returns the commit, the tree of this folder in it, the branch, and where the folder lies in the repository.

    Raises:
        GitError: there is none; says why.
    """
    named = ("--is-inside-work-tree", "HEAD^{commit}", "HEAD:./", "--abbrev-ref", "HEAD", "--show-prefix")
    found = git.attempt("rev-parse", *named)
    if found.returncode:
        raise GitError(_reason_for_no_commit(git))
    is_inside, commit, tree, branch, folder = found.stdout.split(b"\n", 4)
    if is_inside != b"true":
        raise GitError(f"{git.folder} is in no git work tree")
    return commit.decode(), tree.decode(), os.fsdecode(branch), os.fsdecode(folder[:-1])


def _reason_for_no_commit(git: Plumbing) -> str:
    inside = git.attempt("rev-parse", "--is-inside-work-tree")
    said = inside.stderr.decode(errors="replace").strip().partition("\n")[0].removeprefix("fatal: ")
    if inside.returncode and not said.startswith("not a git repository (or any"):
        return f"git cannot read the repository of {git.folder}: {said}"
    if inside.stdout.strip() != b"true":
        return f"{git.folder} is in no git work tree"
    if git.attempt("rev-parse", "--verify", "--quiet", "HEAD^{commit}").returncode:
        return f"the repository of {git.folder} has no commit, or none that git can read"
    return f"{git.folder} is in a git work tree, but is no part of its commit"


def files_of(git: Plumbing, tree: str) -> dict[str, Committed]:
    """Returns the files of a tree by name; submodules are none."""
    found = {}
    for entry in git("ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        facts, _, name = entry.partition(b"\t")
        mode, kind, sha = facts.decode().split(" ")
        if kind == "blob":
            found[os.fsdecode(name)] = Committed(mode, sha)
    return found


def blobs(git: Plumbing, hashes: Sequence[str]) -> Iterator[bytes]:
    """Yields what some of a repository's objects hold.

    Raises:
        GitError: one is missing.
    """
    if not hashes:
        return
    answer = git("cat-file", "--batch", given=_lines(hashes))
    place = 0
    for one in hashes:
        end = answer.index(b"\n", place)
        facts = answer[place:end].split(b" ")
        if len(facts) != 3:
            raise GitError(f"its object {one} is missing")
        place = end + 1 + int(facts[2])
        yield answer[end + 1 : place]
        place += 1


def sizes_of(git: Plumbing, hashes: Sequence[str]) -> list[int | None]:
    """Returns the sizes of some of a repository's objects in bytes; None for one that is missing."""
    if not hashes:
        return []
    told = (line.rpartition(b" ")[2] for line in git("cat-file", "--batch-check", given=_lines(hashes)).splitlines())
    return [int(size) if size.isdigit() else None for size in told]


def _lines(hashes: Sequence[str]) -> bytes:
    return "".join(f"{one}\n" for one in hashes).encode()
