"""Several ranks give the result of one, beyond the order in which floating-point numbers are added up."""

import os
import sys
from pathlib import Path

import pytest

from common.run.metrics import read_metrics
from tests.processes import start

TOLERANCE = 1e-5
SETTINGS = (
    "task=fnn",
    "datamodule.config.source=digits",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "logger=none",
)


PROGRAM = Path(__file__).resolve().parents[2] / "projects" / "classify_mnist" / "train.py"


def _metrics(root: Path, *more: str) -> list[dict[str, float]]:
    before = set(root.glob("data/classify_mnist/fnn/*"))
    process = start([sys.executable, str(PROGRAM), *SETTINGS, *more], dict(os.environ))
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    (folder,) = set(root.glob("data/classify_mnist/fnn/*")) - before
    return read_metrics(folder)


@pytest.mark.slow
def test_two_ranks_evaluate_as_one_does_with_the_same_global_batch(root: Path) -> None:
    one = _metrics(root, "datamodule.config.fixed_per_device_batch_size=26")
    two = _metrics(
        root,
        "datamodule.config.fixed_per_device_batch_size=13",
        "hydra.launcher.tasks_per_node=2",
    )
    for name in ("val/loss", "val/accuracy", "test/loss", "test/accuracy"):
        ours, theirs = ([row[name] for row in rows if name in row] for rows in (one, two))
        assert ours == pytest.approx(theirs, abs=TOLERANCE)
