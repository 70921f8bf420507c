"""Git's plumbing, in bytes, whatever a person, a machine or a repository has configured.

No command that is given here runs a program of the repository's: no hook, no filter, no other diff or text conversion,
no monitor of files.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.run.neutral import neutral_environment

NEUTRAL = (
    *("-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.quotePath=true", "-c", "core.preloadIndex=false", "-c", "core.commitGraph=false"),
    "--no-pager",
)


class GitError(Exception):
    """Git, or what it was asked of, is not as it should be; the text says what, and begins in small letters."""


@dataclass
class Plumbing:
    """Calls git for a folder.

    Attributes:
        folder: Where it is called.
        environment: The environment for it.
    """

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, given: bytes = b"") -> bytes:
        """Returns what a command prints.

        Raises:
            GitError: it ended with an error.
        """
        result = self.attempt(*arguments, given=given)
        if result.returncode:
            lines = result.stderr.decode(errors="replace").strip().splitlines()
            said = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "")
            raise GitError(f"git {arguments[0]} failed: {said or f'status {result.returncode}'}")
        return result.stdout

    def attempt(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Returns how a command ended.

        Raises:
            GitError: it could not be started.
        """
        words = ["git", *NEUTRAL, *arguments]
        with (
            tempfile.TemporaryFile() as source,
            tempfile.TemporaryFile() as printed,
        ):  # Pipes take a turn for each line.
            source.write(given)
            source.seek(0)
            try:
                ended = subprocess.run(
                    words,
                    cwd=self.folder,
                    env=self.environment,
                    stdin=source,
                    stdout=printed,
                    stderr=subprocess.PIPE,
                    check=False,
                )
            except OSError as error:
                raise GitError(f"git cannot be started: {error.strerror}") from error
            printed.seek(0)
            return subprocess.CompletedProcess(words, ended.returncode, printed.read(), ended.stderr)


@contextmanager
def plumbing(folder: Path) -> Iterator[Plumbing]:
    """Lets git be called for a folder.

    Its configuration in this process's home and on this machine is not read, so that none changes what comes out; what
    belongs to another user may be read.

    Args:
        folder: In a work tree.

    Raises:
        GitError: git is not installed.
    """
    if shutil.which("git") is None:
        raise GitError("git is not installed")
    kept = {name: value for name, value in neutral_environment().items() if not name.startswith("XDG_CONFIG")}
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / ".gitconfig").write_bytes(b"[safe]\n\tdirectory = *\n")
        own = {"HOME": home, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
        own |= {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
        yield Plumbing(folder, {**kept, **own})


def lines_of(names: Iterable[str]) -> bytes:
    """Returns files' names as lines for git, those quoted that a line cannot hold otherwise."""
    return b"".join(_quoted(os.fsencode(name)) + b"\n" for name in names)


def _quoted(name: bytes) -> bytes:
    if b"\n" not in name and not name.startswith(b'"'):
        return name
    return b'"' + b"".join(b"\\%03o" % byte for byte in name) + b'"'
