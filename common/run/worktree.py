"""The files of a work tree, each judged by its content: git's index tells no more than their names.

So no time, flag or filter of the index can hide an edit.
"""

import hashlib
import os
import stat

from common.run.commit import Committed, sizes_of
from common.run.git import GitError, Plumbing, lines_of
from common.run.listing import Listing

LARGEST_BYTES = 1_000_000
"""A larger file that differs from the commit is not recorded."""

LINK = "120000"


class WorkTree:
    """The files of a work tree beside those of the commit.

    Args:
        git: Calls git there.
        listing: Which files there are.
        committed: The commit's.

    Attributes:
        listing: As given.
        modes: By name git's mode of each file that is there.
        sizes: By name its size in bytes.
        missing: The commit's files that are not there.
    """

    def __init__(self, git: Plumbing, listing: Listing, committed: dict[str, Committed]) -> None:
        self._git, self.listing, self._committed = git, listing, committed
        self._root = os.fspath(listing.root)
        self._is_through_link: dict[str, bool] = {"": False}
        self.modes: dict[str, str] = {}
        self.sizes: dict[str, int] = {}
        self.missing: list[str] = []
        tracked = {*committed, *listing.tracked}
        for name in (*sorted(tracked), *(name for name in listing.code if name not in tracked)):
            self._look_at(name)

    def differing(self) -> list[str]:
        """Returns the files that are not as they are in the commit.

        Raises:
            GitError: git cannot read them.
        """
        same_mode = [name for name, mode in self.modes.items() if self._mode_in_commit(name) == mode]
        large = [name for name in same_mode if self.sizes[name] > LARGEST_BYTES]
        sizes = sizes_of(self._git, [self._committed[name].hash for name in large])
        resized = {name for name, size in zip(large, sizes, strict=True) if size != self.sizes[name]}
        hashes = self._hashes([name for name in same_mode if name not in resized])
        return [name for name in self.modes if name not in hashes or hashes[name] != self._committed[name].hash]

    def content_of(self, name: str) -> bytes | None:
        """Returns what a file holds; None where it cannot be read, which is noted."""
        path = self.listing.root / name
        try:
            return os.fsencode(path.readlink()) if self.modes[name] == LINK else path.read_bytes()
        except OSError as error:
            self._note(name, error)
            return None

    def _look_at(self, name: str) -> None:
        is_followed = name in self.listing.behind_links
        is_hidden = name in self.listing.replaced or self._leads_through_link(name.rpartition("/")[0])
        if is_hidden and not is_followed:
            status = None
        else:
            try:
                status = os.stat(f"{self._root}/{name}", follow_symlinks=is_followed)  # noqa: PTH116  # For 20,000 files.
            except (FileNotFoundError, NotADirectoryError):
                status = None
            except OSError as error:
                self._note(name, error)
                return
        mode = mode_of(status) if status else None
        if status and mode:
            self.modes[name], self.sizes[name] = mode, status.st_size
        elif status and not stat.S_ISDIR(status.st_mode):
            self.listing.left_out.add("it is no file", name)
        elif name in self._committed:
            self.missing.append(name)

    def _mode_in_commit(self, name: str) -> str | None:
        committed = self._committed.get(name)
        return committed.mode if committed else None

    def _hashes(self, names: list[str]) -> dict[str, str]:
        """Returns git's hashes of what files hold; none of those that cannot be read."""
        plain = [name for name in names if self.modes[name] != LINK]
        try:
            hashes = self._hashes_of_plain(plain)
        except GitError:
            hashes = self._hashes_of_plain([name for name in plain if os.access(self.listing.root / name, os.R_OK)])
        links = {name: self.content_of(name) for name in names if self.modes[name] == LINK}
        return hashes | {name: _hash_like(self._committed[name].hash, target or b"") for name, target in links.items()}

    def _hashes_of_plain(self, names: list[str]) -> dict[str, str]:
        paths = lines_of(f"{self._root}/{name}" for name in names)  # Git would start from its repository's top.
        hashes = self._git("hash-object", "--no-filters", "--stdin-paths", given=paths).decode().split()
        return dict(zip(names, hashes, strict=True))

    def _leads_through_link(self, folder: str) -> bool:
        if folder not in self._is_through_link:
            is_link = (self.listing.root / folder).is_symlink()
            self._is_through_link[folder] = is_link or self._leads_through_link(folder.rpartition("/")[0])
        return self._is_through_link[folder]

    def _note(self, name: str, error: OSError) -> None:
        self.listing.left_out.add(f"cannot be read ({(error.strerror or str(error)).lower()})", name)


def mode_of(status: os.stat_result) -> str | None:
    """Returns git's mode of a file; None for what is neither a file nor a link."""
    if stat.S_ISLNK(status.st_mode):
        return LINK
    if stat.S_ISREG(status.st_mode):
        return "100755" if status.st_mode & stat.S_IXUSR else "100644"
    return None


def _hash_like(other: str, content: bytes) -> str:
    """Returns git's hash of a file, made as another hash was."""
    digest = hashlib.new("sha1" if len(other) == 40 else "sha256", usedforsecurity=False)
    digest.update(b"blob %d\0" % len(content) + content)
    return digest.hexdigest()
