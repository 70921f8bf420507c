"""`provenance.json`: what takes a run to be made again, and how it ended."""

import json
from pathlib import Path

import pytest

from common.run.continuation import Run
from common.run.lock import FolderLock
from common.run.provenance import end_launch, package_versions, start_launch
from common.run.record import FILE_NAME, Git, Record, Status

KEY = "0123456789abcdef0123456789abcdef01234567"


def read(folder: Path) -> dict[str, object]:
    record: dict[str, object] = json.loads((folder / FILE_NAME).read_text())
    return record


def a_run(folder: Path) -> Run:
    return Run(folder, Record("plain", "a1", {}, {}, package_versions()), FolderLock(folder))


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_the_status_goes_from_running_to_the_end(tmp_path: Path, status: Status) -> None:
    run = a_run(tmp_path)
    start_launch(run, seed=0, git=Git(commit="c0ffee"))
    running = read(tmp_path)
    assert (running["status"], running["ended"], running["error"], running["seed"]) == ("running", None, None, 0)
    end_launch(run, status, 1.23, error="E: x", result=0.5)
    ended = read(tmp_path)
    assert (ended["status"], ended["error"], ended["seconds"]) == (status, "E: x", 1.2)
    assert ended["result"] == (0.5 if status == "finished" else None)
    assert str(ended["ended"]) >= str(ended["started"])
    assert ended["git"] == running["git"]
    assert "c0ffee" in str(ended["git"])


def test_the_record_has_what_it_takes_to_repeat_a_run(tmp_path: Path) -> None:
    start_launch(a_run(tmp_path), seed=3, data={"source": "digits"})
    record = read(tmp_path)
    assert {"command", "working_directory", "started", "python", "packages", "machine", "git", "seed", "data"} <= set(
        record
    )
    assert {"torch", "pytorch-lightning", "hydra-core", "numpy"} <= set(package_versions())


def test_the_wandb_key_is_redacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr("sys.argv", ["train.py", "task=fnn", f"logger.notes={KEY}"])
    run = a_run(tmp_path)
    start_launch(run, seed=0)
    end_launch(run, "failed", 1, error=f"Denied: {KEY}")
    assert KEY not in (tmp_path / FILE_NAME).read_text()
    assert "logger.notes=<WANDB_API_KEY>" in (tmp_path / FILE_NAME).read_text()
