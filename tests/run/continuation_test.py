"""Which folder a launch gets: an earlier run's, or a new one."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from common.run.continuation import Choice, Launch, choose_folder, newest_run, read_record, write_record


def launch(**changes: Any) -> Launch:
    facts = Launch("plain", "a1", {"trainer.max_epochs": 3}, {"common/x.py": "1"}, {"torch": "2"})
    return replace(facts, **{"created_ns": launch_counter(), **changes})


def launch_counter() -> int:
    launch_counter.last += 1  # type: ignore[attr-defined]
    return launch_counter.last  # type: ignore[attr-defined,no-any-return]


launch_counter.last = 0  # type: ignore[attr-defined]


def choose(root: Path, facts: Launch, *, may_continue: bool = True) -> Choice:
    choice = choose_folder(root / "now", facts, newest_run(root, facts), may_continue=may_continue)
    choice.lock.release()
    return choice


def end(choice: Choice, status: str) -> None:
    write_record(choice.folder, read_record(choice.folder) | {"status": status})


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_an_unfinished_run_is_continued_in_its_folder(tmp_path: Path, status: str) -> None:
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
        (folder / "provenance.json").unlink()
    longer = choose(tmp_path, launch(budget={"trainer.max_epochs": 5}))
    assert longer.folder == first.folder
    assert longer.record["budget"] == {"trainer.max_epochs": 5}


def test_changed_code_means_a_new_run_and_says_how_to_start_from_the_old(tmp_path: Path) -> None:
    choose(tmp_path, launch())
    choice = choose(tmp_path, launch(code={"common/x.py": "2"}))
    assert choice.folder.name == "now_1"
    assert "common/x.py changed" in choice.reason
    assert f"config.ckpt_path={tmp_path}/now/lightning/last.ckpt" in choice.reason


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
    facts = launch()
    held = choose_folder(tmp_path / "now", facts, None, may_continue=True)
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

    def start(index: int) -> Choice:
        facts = launch(created_ns=100 + index)
        barrier.wait()
        return choose_folder(tmp_path / "now", facts, newest_run(tmp_path, facts), may_continue=True)

    with ThreadPoolExecutor(8) as pool:
        choices = list(pool.map(start, range(8)))
    assert len({choice.folder for choice in choices}) == 8
    for choice in choices:
        choice.lock.release()
