"""The GUIDE's tutorial, followed to the letter in a copy of the repository, works."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from common.run.metrics import read_metrics
from tests.docs.conftest import Shell
from tests.docs.markdown import TUTORIAL, commands, read

Results = dict[str, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def followed(scratch: Path, shell: Shell) -> Results:
    """What came of the tutorial's commands, in their order."""
    return {shlex.join(words): shell(words, scratch) for words in commands(TUTORIAL)}


@pytest.mark.slow
@pytest.mark.parametrize("command", [shlex.join(words) for words in commands(TUTORIAL)], ids=str)
def test_tutorial_command_works(command: str, followed: Results) -> None:
    result = followed[command]
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_tutorial_task_learns_what_the_guide_promises(scratch: Path, followed: Results) -> None:
    """Looks at what the tutorial's first command left."""
    promised = re.search(r"test accuracy ends above (\d\.\d+)", read("GUIDE.md"))
    assert promised is not None
    (folder,) = (scratch / "data" / "two_moons" / "mlp").iterdir()
    assert read_metrics(folder)[-1]["test/accuracy"] > float(promised.group(1))
    assert (folder / "decision.png").stat().st_size > 10_000
