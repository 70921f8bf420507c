"""`clean` removes what it lists, and never what is finished, runs, or waits."""

import io
import json
import os
import socket
import zipfile
from pathlib import Path
from typing import Any

import pytest

from common.run.atomic import temporary_name


def whole_checkpoint() -> bytes:
    """A zip file, as torch's checkpoints are."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("data", bytes(1000))
    return content.getvalue()


def add_checkpoints(folder: Path, **contents: bytes) -> None:
    (folder / "lightning").mkdir()
    for name, content in contents.items():
        (folder / "lightning" / f"{name}.ckpt").write_bytes(content)


def listed(said: Any) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in said.json}


ROWS = [{"step": 1, "val/loss": 0.5}]


def test_failed_and_empty_runs_go_and_others_stay(ai_research: Any, make_run: Any, held: Any) -> None:
    failed = make_run(status="failed", metrics=ROWS)
    empty = make_run(status="stopped", metrics=[])
    killed = make_run(status="running")
    kept = [make_run(metrics=ROWS), make_run(), make_run(status="stopped", metrics=ROWS)]
    running = make_run(status="running")
    held(running)
    damaged = make_run()
    (damaged / "provenance.json").write_text("{")
    said = ai_research("clean", "--json", "--yes")
    assert listed(said) == {str(failed): "failed", str(empty): "empty", str(killed): "empty"}
    assert all(row["removed"] and row["bytes"] > 0 for row in said.json)
    assert [path.exists() for path in (failed, empty, killed)] == [False] * 3
    assert all(path.exists() for path in [*kept, running, damaged])


def test_nothing_goes_without_a_yes(ai_research: Any, make_run: Any) -> None:
    failed = make_run(status="failed")
    said = ai_research("clean")
    assert "Nothing was removed; --yes removes without asking." in said.out
    assert str(failed) in said.out
    assert "together" in said.out
    assert failed.exists()
    assert not ai_research("clean", "--json").json[0]["removed"]
    assert failed.exists()


@pytest.mark.parametrize(("answer", "remains"), [("y\n", False), ("n\n", True), ("\n", True)])
def test_a_person_is_asked(make_run: Any, answer: str, remains: bool, monkeypatch: Any, root: Path) -> None:
    """On a terminal, which only a pseudo-terminal can stand for."""
    import pty
    import subprocess
    import sys

    failed = make_run(status="failed")
    leader, follower = pty.openpty()
    os.write(leader, answer.encode())
    words = [sys.executable, "-m", "common.cli", "clean"]
    result = subprocess.run(words, stdin=follower, capture_output=True, text=True, check=False)
    os.close(leader)
    os.close(follower)
    assert "Remove these" in result.stdout
    assert failed.exists() == remains


def test_checkpoints_that_a_whole_newer_one_supersedes(ai_research: Any, make_run: Any) -> None:
    whole = whole_checkpoint()
    good = make_run(status="stopped", metrics=ROWS)
    add_checkpoints(good, last=whole, previous=whole, best=whole)
    damaged = make_run(status="stopped", metrics=ROWS)
    add_checkpoints(damaged, last=whole[:-50], previous=whole)
    finished = make_run(metrics=ROWS)
    add_checkpoints(finished, last=whole, previous=whole)
    said = ai_research("clean", "--json", "--yes")
    assert listed(said) == {str(good / "lightning/previous.ckpt"): "superseded by last.ckpt"}
    assert not (good / "lightning/previous.ckpt").exists()
    assert (good / "lightning/last.ckpt").exists()


def test_checkpoints_of_a_run_that_finished_elsewhere(ai_research: Any, make_run: Any) -> None:
    stopped = make_run(status="stopped", metrics=ROWS, identity="a" * 12)
    longer = make_run(status="stopped", metrics=ROWS, identity="a" * 12, budget={"trainer.max_epochs": 9})
    for folder in (stopped, longer):
        add_checkpoints(folder, last=whole_checkpoint())
    make_run(metrics=ROWS, identity="a" * 12)
    assert listed(ai_research("clean", "--json")) == {
        str(stopped / "lightning/last.ckpt"): "superseded by a finished run"
    }


def test_space_is_what_comes_back(ai_research: Any, make_run: Any) -> None:
    """A checkpoint with a second name elsewhere gives nothing back; two names in one folder count once."""
    failed = make_run(status="failed")
    before = ai_research("clean", "--json").json[0]["bytes"]
    add_checkpoints(failed, last=bytes(5000))
    os.link(failed / "lightning/last.ckpt", failed / "lightning/best.ckpt")
    assert ai_research("clean", "--json").json[0]["bytes"] == before + 5000


def test_a_run_that_was_continued_meanwhile_stays(make_run: Any) -> None:
    from common.cli.clean import candidates_of, remove
    from common.cli.runs import read_run

    failed = make_run(status="failed")
    (candidate,) = candidates_of([read_run(failed)])
    record = json.loads((failed / "provenance.json").read_text())
    (failed / "provenance.json").write_text(json.dumps({**record, "status": "finished"}))
    assert not remove(candidate)
    assert failed.exists()


def test_a_run_whose_lock_is_held_stays(make_run: Any, held: Any) -> None:
    from common.cli.clean import candidates_of, remove
    from common.cli.runs import read_run

    failed = make_run(status="failed")
    (candidate,) = candidates_of([read_run(failed)])
    held(failed)
    assert not remove(candidate)
    assert failed.exists()


def test_points_of_a_running_sweep_stay(ai_research: Any, make_run: Any, held: Any) -> None:
    sweep = make_run("p/t/2026-01-31_12-00-00", kind="sweep", status="running")
    make_run("p/t/2026-01-31_12-00-00/0_x", kind="point", status="failed")
    held(sweep)
    assert ai_research("clean", "--json").json == []


def test_queued_runs_stay_where_no_queue_can_be_asked(ai_research: Any, make_run: Any) -> None:
    make_run(status="queued", slurm={"job_id": 1, "task": None})
    assert ai_research("clean", "--json").json == []


def test_links_are_not_followed(ai_research: Any, make_run: Any, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    failed = make_run(status="failed")
    (failed / "link").symlink_to(precious)
    assert ai_research("clean", "--yes").status == 0
    assert not failed.exists()
    assert (precious / "file").exists()


def test_a_run_that_failed_with_a_good_checkpoint_is_interrupted(ai_research: Any, make_run: Any) -> None:
    good = make_run(status="failed", metrics=ROWS, command="python train.py task=fnn", working_directory="/a b")
    add_checkpoints(good, last=whole_checkpoint(), previous=whole_checkpoint())
    bad = make_run(status="failed", metrics=ROWS)
    add_checkpoints(bad, last=whole_checkpoint()[:-50])
    rows = {row["path"]: (row["status"], row["reason"]) for row in ai_research("clean", "--json").json}
    assert rows == {
        str(bad): ("failed", "failed"),
        str(good / "lightning/previous.ckpt"): ("interrupted", "superseded by last.ckpt"),
    }
    said = ai_research("clean", "--yes")
    assert (
        f"Kept: {good} is interrupted. The same command continues it:\n  cd '/a b' && python train.py task=fnn"
        in said.out
    )
    assert good.exists()
    assert not bad.exists()


def test_a_run_that_has_finished_once_stays(ai_research: Any, make_run: Any) -> None:
    """Its checkpoints and metrics are gone, or were never made."""
    launches = [{"started": "2026-01-31T12:00:00+00:00", "status": "finished"}, {"started": "x", "status": "failed"}]
    folders = [make_run(status=status, launches=launches) for status in ("failed", "stopped", "running")]
    assert ai_research("clean", "--json", "--yes").json == []
    assert all(folder.exists() for folder in folders)


def test_clean_offers_and_removes_it(ai_research: Any, make_run: Any) -> None:
    folder = make_run(metrics=[{"step": 1, "val/loss": 0.5}])
    (folder / "lightning").mkdir()
    places = [folder.parent, folder, folder / "lightning"]
    paths = [place / f".last.ckpt.{2**22 + 1}-1-{socket.gethostname()}.tmp" for place in places]  # No such process.
    for path in paths:
        path.write_text("half")
    live = folder / temporary_name("metrics.csv")
    live.touch()
    said = ai_research("clean", "--json")
    assert {row["path"]: row["reason"] for row in said.json} == {
        str(path): "left half made by a dead process" for path in paths
    }
    assert all(path.exists() for path in paths)
    assert "left half made" in ai_research("clean").out
    assert ai_research("clean", "--yes").out.endswith("Removed 3 of 3.\n")
    assert [path.exists() for path in [*paths, live, folder]] == [False, False, False, True, True]
