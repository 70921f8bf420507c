"""Runs that the documents' tests look at, made once."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.markdown import REPOSITORY, TUTORIAL, all_blocks


@dataclass
class FinishedRun:
    """A run of the README's first command.

    Attributes:
        folder: What it left.
        out: What it printed.
    """

    folder: Path
    out: str


Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Runs a command as a reader would: in a fresh process, with this Python's tools, without a W&B key."""
    home = tmp_path_factory.mktemp("home")

    def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "HYDRA_", "AI_"))}
        kept |= {"HOME": str(home), "NETRC": str(home / ".netrc"), "PYTHONPATH": str(folder)}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        kept |= {"COLUMNS": "120"} | environment
        return subprocess.run(words, cwd=folder, env=kept, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def run(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The README's first command, to its end, exactly as it stands there."""
    words = all_blocks("bash")[0].text.splitlines()[0].split()
    root = tmp_path_factory.mktemp("root")
    result = shell(words, REPOSITORY, AI_RESEARCH_PATH=str(root))
    assert result.returncode == 0, result.stderr
    (folder,) = (root / "data" / "classify_mnist" / "fnn").iterdir()
    return FinishedRun(folder, result.stdout + result.stderr)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which the tutorial was followed."""
    copy = tmp_path_factory.mktemp("scratch")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        files = [REPOSITORY / name for name in result.stdout.split("\0") if name]
    else:  # Not a git checkout: an unpacked archive.
        files = [
            path for folder in ("common", "projects", "hydra_plugins") for path in (REPOSITORY / folder).rglob("*")
        ]
        files.append(REPOSITORY / "pyproject.toml")
    for file in files:
        if file.is_file():
            target = copy / file.relative_to(REPOSITORY)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    if (REPOSITORY / ".mypy_cache").is_dir():  # Spares a minute of reading torch's types.
        shutil.copytree(REPOSITORY / ".mypy_cache", copy / ".mypy_cache")
    for block in [*all_blocks("python"), *all_blocks("yaml")]:
        if block.chapter == TUTORIAL:
            assert block.path is not None, f"{block.name}: the line before does not say which file this is."
            target = copy / block.path
            assert not target.exists(), f"{block.name}: {block.path} is in the repository already."
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
    return copy
