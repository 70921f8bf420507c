"""A copy of the code as it is when jobs are submitted: what runs later is what was submitted."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from common.errors import ConfigError
from common.utils.misc import repository_path

FOLDER_NAME = ".code"

LARGEST_BYTES = 10_000_000
"""A larger file is data: it stays where it is."""


def take_snapshot(folder: Path, project: Path) -> str:
    """Copies the repository's code: what git tracks or does not ignore, and the running project in any case.

    Args:
        folder: Gets the copy, as `.code/`.
        project: The running project's folder.

    Returns:
        The SHA-256 of all names and contents, which tells one state of the code from another.

    Raises:
        ConfigError: the repository is no git work tree, so nobody can say what belongs to it.
    """
    digest = hashlib.sha256()
    for path in sorted(_files(project)):
        content = path.read_bytes()
        name = path.relative_to(repository_path())
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        copy = folder / FOLDER_NAME / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        shutil.copymode(path, copy)
    return digest.hexdigest()


def _files(project: Path) -> set[Path]:
    root = repository_path()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        raise ConfigError(f"{root} is not a git work tree ({listed.stderr.strip()}), and jobs run from a copy of one.")
    found = {root / name for name in listed.stdout.split("\0") if name}
    if project.is_relative_to(root):
        found |= {path for path in project.rglob("*") if "__pycache__" not in path.parts}
    return {path for path in found if path.is_file() and path.stat().st_size <= LARGEST_BYTES}
