"""Drawn command lines and task files: each wrong one ends in status 2 and a sentence, each right one is accepted.

A few here, in this process; any number by hand: `python -m tests.check.fuzz_test 1500 300`, wrong and right ones.
"""

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from common.runner import BaseTaskRunner
from projects.classify_mnist.train import TaskRunner as Classify
from projects.ne_control_score.train import TaskRunner as Evolve
from projects.oscillator_pred.train import TaskRunner as Predict
from tests.check.fuzz import Case, Draw

REPOSITORY = Path(__file__).resolve().parents[2]

RUNNERS: dict[str, type[BaseTaskRunner]] = {
    "classify_mnist": Classify,
    "oscillator_pred": Predict,
    "ne_control_score": Evolve,
}

ERROR_NAME = re.compile(r"\b[A-Z]\w*(Error|Exception|Violation|Warning)\b|Traceback|\x1b")

ONLY_CHECK = "config.preflight_only=true"


def faults_of(case: Case, root: Path, scratch: Path) -> list[str]:
    """Runs a case's command, and returns what is wrong with how it ended."""
    project = REPOSITORY / "projects" / case.project
    if case.text is not None:
        project = scratch / case.project
        shutil.rmtree(project, ignore_errors=True)
        shutil.copytree(REPOSITORY / "projects" / case.project / "task", project / "task")
        (project / "task" / "mine.yaml").write_bytes(case.text)
    sys.argv = [str(project / "train.py"), *case.arguments, *([ONLY_CHECK] if case.is_right else [])]
    printed, told, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
        try:
            RUNNERS[case.project].run_task()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            GlobalHydra.instance().clear()
    text = told.getvalue().strip()
    faults = []
    if status != (0 if case.is_right else 2):
        faults.append(f"status {status}")
    if ERROR_NAME.search(text) or (not case.is_right and not text.startswith("Error: ")):
        faults.append("no sentence")
    if any(len(line) > 1500 for line in text.splitlines()):
        faults.append("too long")
    if any(root.rglob("*")):
        faults.append("wrote something")
    return [f"{fault}: {case} said {text[:600]!r}" for fault in faults]


def drawn(seed: int, num_wrong: int, num_right: int) -> Iterator[Case]:
    """Yields cases."""
    draw = Draw(seed)
    yield from (draw.wrong() for _ in range(num_wrong))
    yield from (draw.right() for _ in range(num_right))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def test_what_is_drawn_is_refused_or_accepted_as_it_was_made(root: Path, scratch: Path) -> None:
    faults = [fault for case in drawn(0, 16, 4) for fault in faults_of(case, root, scratch)]
    assert not faults, "\n".join(faults)


def main(num_wrong: int, num_right: int, seed: int) -> int:
    """Draws and judges cases, prints what came out, and returns how many faults there are."""
    with tempfile.TemporaryDirectory() as folder:
        root, scratch = Path(folder) / "root", Path(folder) / "scratch"
        root.mkdir()
        os.environ["AI_RESEARCH_PATH"] = str(root)
        counts: Counter[str] = Counter()
        num_faults = 0
        for case in drawn(seed, num_wrong, num_right):
            faults = faults_of(case, root, scratch)
            counts["right" if case.is_right else f"wrong: {case.rule}"] += 1
            num_faults += bool(faults)
            for fault in faults:
                print(fault, flush=True)
    print(f"{dict(counts)}\n{num_faults} of {sum(counts.values())} went wrong.")
    return num_faults


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    sys.exit(bool(main(*(given or [1500, 300]), seed=1) if len(given) < 3 else main(*given)))
