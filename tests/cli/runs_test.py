"""A folder is read as what it is, however odd it is."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from common.cli.runs import read_run


def test_a_finished_run(make_run: Any) -> None:
    run = read_run(make_run(metrics=[{"step": 1, "val/loss": 0.5}, {"step": 2, "val/loss": 0.25}, {"test/loss": 0.3}]))
    assert (run.state, run.project, run.task, run.error) == ("finished", "project", "task", None)
    assert run.results == {"val/loss": 0.25, "test/loss": 0.3}
    assert run.seconds == 90


def test_running_is_who_holds_the_lock(make_run: Any, held: Any) -> None:
    folder = make_run(status="running")
    assert read_run(folder).state == "interrupted"
    held(folder)
    assert read_run(folder).state == "running"


def test_queued_is_who_is_in_the_queue(make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A squeue that knows job 7's task 1, and no other. Where none answers, nobody takes the run for interrupted."""
    folder = make_run(status="queued", slurm={"job_id": 7, "task": 1})
    other = make_run(status="queued", slurm={"job_id": 7, "task": 2})
    assert read_run(folder).state == "queued"
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 7 1 0 PENDING Priority\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    from common.cli.runs import forget_queue

    forget_queue()
    assert (read_run(folder).state, read_run(other).state) == ("queued", "interrupted")
    forget_queue()


DAMAGES = {
    "empty": "",
    "half": '{"status": "finished", "kind": "pl',
    "a list": "[]",
    "a number": "3",
    "other keys": '{"hello": 1}',
    "wrong types": '{"kind": 1, "identity": 2, "status": 3, "created_ns": "x", "budget": []}',
    "unknown status": '{"kind": "plain", "identity": "a", "status": "odd", "created_ns": 1, "budget": {}}',
    "unhashable kind": '{"kind": "odd", "identity": "a", "status": "finished", "created_ns": 1, "budget": {}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_is_told(make_run: Any, text: str) -> None:
    folder = make_run()
    (folder / "provenance.json").write_text(text)
    run = read_run(folder)
    assert run.state == "damaged"
    assert run.error
    assert "provenance.json" in run.error


def test_bytes_that_are_no_text_are_told(make_run: Any) -> None:
    folder = make_run()
    (folder / "provenance.json").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in str(read_run(folder).error)


@pytest.mark.parametrize("content", [b"\xff\xfe,\n1,2\n", b"step,loss\n1,abc\n", b'"step\n' * 3])
def test_damaged_metrics_leave_the_rest(make_run: Any, content: bytes) -> None:
    folder = make_run()
    (folder / "metrics.csv").write_bytes(content)
    run = read_run(folder)
    assert run.metrics == {} or "step" in next(iter(run.metrics))
    assert run.state == "finished"


@pytest.mark.parametrize("facts", [{"launches": "x"}, {"changes": [1]}, {"given": 3}, {"error": 7}, {"git": 2}])
def test_a_record_with_a_part_of_another_type_is_damaged(make_run: Any, facts: dict[str, Any]) -> None:
    run = read_run(make_run(**facts))
    assert (run.state, run.seconds, run.changes, run.overrides) == ("damaged", None, {}, {})
    assert f"{next(iter(facts))}=" in str(run.error)


def test_a_sweep_counts_its_points(make_run: Any, held: Any) -> None:
    sweep = make_run("p/t/2026-01-31_12-00-00", kind="sweep", status="running")
    for number, status in enumerate(["finished", "failed", "running"]):
        make_run(
            f"p/t/2026-01-31_12-00-00/{number}_lr={number}", kind="point", status=status, settings={"m.lr": number}
        )
    (sweep / "3_notes").mkdir()
    run = read_run(sweep)
    assert run.num_points == {"finished": 1, "failed": 1, "interrupted": 1, "damaged": 1}
    assert run.state == "failed"
    assert run.overrides == {"m.lr": [0, 1, 2]}
    held(run.points[2].folder)
    assert read_run(sweep).state == "running"


def test_a_detached_sweep_is_finished_when_all_its_points_are(make_run: Any) -> None:
    sweep = make_run("p/t/2026-01-31_12-00-00", kind="sweep", status="queued", slurm={"job_id": 1, "task": None})
    make_run("p/t/2026-01-31_12-00-00/0_a", kind="point")
    assert read_run(sweep).state == "finished"


def test_ten_points_are_in_their_order(make_run: Any) -> None:
    sweep = make_run("p/t/2026-01-31_12-00-00", kind="sweep")
    for number in (10, 2, 0):
        make_run(f"p/t/2026-01-31_12-00-00/{number}_x", kind="point")
    assert [point.title.rpartition("/")[2] for point in read_run(sweep).points] == ["0", "2", "10"]


def test_progress_and_time_left(make_run: Any, held: Any) -> None:
    """15 of 4 × 10 steps are done; the last 15 took 100 seconds, so the other 25 take 167."""
    now = time.time()
    start = datetime.fromtimestamp(now - 101, UTC).isoformat()
    rows = [
        {"step": 0, "epoch": 0, "time": now - 100},
        {"step": 10, "epoch": 0, "time": now - 50, "val/loss": 1},
        {"step": 15, "epoch": 1, "time": now},
    ]
    budget = {"trainer.max_epochs": 4, "trainer.max_steps": -1}
    folder = make_run(status="running", metrics=rows, budget=budget, launches=[{"started": start}])
    held(folder)
    progress = read_run(folder).progress
    assert progress is not None
    assert progress.part == pytest.approx(15 / 40)
    assert progress.seconds_left == pytest.approx(100 * 25 / 15, abs=2)


def test_time_before_a_continuation_does_not_count(make_run: Any, held: Any) -> None:
    now = time.time()
    start = datetime.fromtimestamp(now - 11, UTC).isoformat()
    steps = {1: now - 9000, 10: now - 10, 20: now}
    rows = [{"step": step, "time": moment} for step, moment in steps.items()]
    folder = make_run(status="running", metrics=rows, budget={"trainer.max_steps": 40}, launches=[{"started": start}])
    held(folder)
    progress = read_run(folder).progress
    assert progress is not None
    assert progress.seconds_left == pytest.approx(20, abs=2)


def test_no_progress_where_nothing_is_known(make_run: Any) -> None:
    assert read_run(make_run(status="running")).progress is None
    assert read_run(make_run(budget={}, metrics=[{"step": 1, "time": 1}])).progress is None


def test_reading_changes_nothing(make_run: Any) -> None:
    folder = make_run(status="running", metrics=[{"step": 1}])
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    run = read_run(folder)
    assert run.state == "interrupted"
    assert json.dumps(run.metrics)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
