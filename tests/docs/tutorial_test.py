"""The GUIDE's tutorial, followed to the letter in a copy of the repository, works."""

import re
import shlex
from pathlib import Path

import pytest

from common.run.metrics import read_metrics
from tests.docs.conftest import Shell
from tests.docs.markdown import TUTORIAL, commands, read


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(TUTORIAL), ids=shlex.join)
def test_tutorial_command_works(words: list[str], scratch: Path, shell: Shell) -> None:
    result = shell(words, scratch)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_tutorial_task_learns_what_the_guide_promises(scratch: Path) -> None:
    """Looks at what the tutorial's first command left; it runs before this."""
    promised = re.search(r"test accuracy ends above (\d\.\d+)", read("GUIDE.md"))
    assert promised is not None
    (folder,) = (scratch / "data" / "two_moons" / "mlp").iterdir()
    assert read_metrics(folder)[-1]["test/accuracy"] > float(promised.group(1))
    assert (folder / "decision.png").stat().st_size > 10_000
