"""Which folder a launch gets: an earlier run's, or a new one."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from common.run.continuation import Run, choose_folder, earlier_runs
from common.run.record import Record, Status


def launch(**changes: Any) -> Record:
    wanted = Record("plain", "a1", {"trainer.max_epochs": 3}, {"common/x.py": "1"}, {"torch": "2"})
    return replace(wanted, **changes)


def choose(root: Path, wanted: Record, *, may_continue: bool = True) -> Run:
    run = choose_folder(root / "now", wanted, earlier_runs(root, wanted), may_continue=may_continue)
    run.update()  # As the launch does.
    run.lock.release()
    return run


def end(run: Run, status: Status) -> None:
    run.update(status=status)


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_an_unfinished_run_is_continued_in_its_folder(tmp_path: Path, status: Status) -> None:
    first = choose(tmp_path, launch())
    end(first, status)
    second = choose(tmp_path, launch())
    assert second.folder == first.folder
    assert second.reason == f"continuing the {'interrupted' if status == 'running' else status} run now"


def test_a_finished_run_is_left_alone_unless_more_is_asked(tmp_path: Path) -> None:
    first = choose(tmp_path, launch())
    end(first, "finished")
    assert "finished at this budget" in choose(tmp_path, launch(budget={"trainer.max_epochs": 3})).reason
    for folder in tmp_path.glob("now_*"):
        shutil.rmtree(folder)
    longer = choose(tmp_path, launch(budget={"trainer.max_epochs": 5}))
    assert longer.folder == first.folder
    assert longer.record.budget == {"trainer.max_epochs": 5}


def test_changed_code_means_a_new_run_and_says_how_to_start_from_the_old(tmp_path: Path) -> None:
    choose(tmp_path, launch())
    run = choose(tmp_path, launch(code={"common/x.py": "2"}))
    assert run.folder.name == "now_1"
    assert "common/x.py changed" in run.reason
    assert f"config.ckpt_path={tmp_path}/now/lightning/last.ckpt" in run.reason


def test_another_package_version_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    choose(tmp_path, launch())
    assert choose(tmp_path, launch(packages={"torch": "3"})).folder.name == "now"
    assert "began with torch 2 and goes on with 3" in caplog.text


@pytest.mark.parametrize("changes", [{"identity": "b2"}, {"kind": "point"}, {"kind": "sweep"}])
def test_another_identity_or_kind_is_never_continued(tmp_path: Path, changes: dict[str, Any]) -> None:
    choose(tmp_path, launch())
    assert choose(tmp_path, launch(**changes)).folder.name == "now_1"


def test_a_new_run_can_be_asked_for(tmp_path: Path) -> None:
    choose(tmp_path, launch())
    assert choose(tmp_path, launch(), may_continue=False).folder.name == "now_1"


def test_only_the_newest_counts(tmp_path: Path) -> None:
    choose(tmp_path, launch())
    end(choose(tmp_path, launch(), may_continue=False), "finished")
    assert choose(tmp_path, launch()).folder.name == "now_2"


def test_a_folder_that_is_written_to_is_left_alone(tmp_path: Path) -> None:
    wanted = launch()
    held = choose_folder(tmp_path / "now", wanted, earlier_runs(tmp_path, wanted), may_continue=True)
    assert "still being written" in choose(tmp_path, launch()).reason
    held.lock.release()


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    first = choose(tmp_path, launch())
    (first.folder / "provenance.json").write_text("{")
    assert choose(tmp_path, launch()).folder.name == "now_1"


@pytest.mark.parametrize("is_continuation", [False, True])
def test_launches_at_the_same_moment_get_a_folder_each(tmp_path: Path, is_continuation: bool) -> None:
    if is_continuation:
        choose(tmp_path, launch())
    barrier = Barrier(8)

    def start(_: int) -> Run:
        wanted = launch()
        barrier.wait()
        return choose_folder(tmp_path / "now", wanted, earlier_runs(tmp_path, wanted), may_continue=True)

    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(start, range(8)))
    assert len({run.folder for run in runs}) == 8
    for run in runs:
        run.lock.release()
