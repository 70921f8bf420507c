"""A run that starts from a checkpoint is never taken for one from scratch, nor for one from another checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest


def record_of(folder: Path) -> Any:
    return json.loads((folder / "provenance.json").read_text())


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "some run" / "lightning" / "last.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


FAILING = "number=0"


def test_the_same_command_continues_it_and_no_other_does(run, outputs, checkpoint: Path) -> None:
    start = f"config.ckpt_path='{checkpoint}'"
    assert run(FAILING, start).status == 1
    (first,) = outputs()
    assert record_of(first)["origin"] == {"path": str(checkpoint), "fingerprint": "9a129038d9a0", "identity": None}
    assert run(FAILING).status == 1
    assert len(outputs()) == 2  # From scratch: another run.
    assert run(FAILING, start).status == 1
    assert [len(record_of(folder)["launches"]) for folder in outputs()] == [2, 1]
    checkpoint.write_bytes(b"other weights")
    assert run(FAILING, start).status == 1
    assert [len(record_of(folder)["launches"]) for folder in outputs()] == [2, 1, 1]
    assert run(FAILING).status == 1
    assert [len(record_of(folder)["launches"]) for folder in outputs()] == [2, 2, 1]
    assert len({record_of(folder)["identity"] for folder in outputs()}) == 3


def test_null_always_starts_afresh(run, outputs) -> None:
    assert [run(FAILING, "config.ckpt_path=null").status for _ in range(2)] == [1, 1]
    assert len(outputs()) == 2
    assert "a new run, as config.ckpt_path=null asks" in (outputs()[1] / "tiny.log").read_text()


def test_finished_points_from_scratch_are_not_skipped_for_those_from_a_file(
    run, outputs, checkpoint: Path, seen: list[float]
) -> None:
    sweep = ("number=1,2", "config.skip_finished=true")
    assert run(*sweep).status == 0
    assert run(*sweep, f"config.ckpt_path='{checkpoint}'").status == 0
    assert seen == [1, 2, 1, 2]
    assert run(*sweep, f"config.ckpt_path='{checkpoint}'").status == run(*sweep).status == 0
    assert seen == [1, 2, 1, 2]
    assert len(outputs()) == 2


def test_the_run_that_wrote_the_checkpoint_is_on_record(run, outputs, checkpoint: Path) -> None:
    assert run().status == 0
    (scratch,) = outputs()
    (scratch / "lightning").mkdir()
    own = checkpoint.rename(scratch / "lightning" / "best.ckpt")
    assert run(f"config.ckpt_path='{own}'").status == 0
    assert record_of(outputs()[1])["origin"]["identity"] == record_of(scratch)["identity"]


def test_a_checkpoint_that_cannot_be_read_starts_nothing(run, outputs, tmp_path: Path) -> None:
    outcome = run(f"config.ckpt_path='{tmp_path}'")
    assert outcome.status == 2
    assert "there is no such file" in outcome.err
    assert outputs() == []
