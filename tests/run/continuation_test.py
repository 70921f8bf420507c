"""Which folder a launch gets: an earlier run's, or a new one."""

import json
import logging
import os
import resource
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from common.run.continuation import Run, choose_folder, earlier_runs
from common.run.files import read_bytes
from common.run.lock import FolderLock
from common.run.record import Record, Status, read_record


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
    shorter = choose(tmp_path, launch(budget={"trainer.max_epochs": 2}))
    assert "now is finished at a larger budget than this" in shorter.reason
    shutil.rmtree(shorter.folder)
    longer = choose(tmp_path, launch(budget={"trainer.max_epochs": 5}))
    assert longer.folder == first.folder
    assert longer.record.budget == {"trainer.max_epochs": 5}


def test_changed_code_means_a_new_run_and_says_how_to_start_from_the_old(tmp_path: Path) -> None:
    choose(tmp_path, launch())
    run = choose(tmp_path, launch(code={"common/x.py": "2"}))
    assert run.folder.name == "now_1"
    assert "common/x.py changed" in run.reason
    assert f"config.ckpt_path={tmp_path}/now/checkpoints/last.ckpt" in run.reason


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


DAMAGES = ["", "{", "[]", '{"kind": "plain", "identity": 3}']


@pytest.mark.parametrize("content", DAMAGES)
def test_a_damaged_run_of_this_task_is_named(tmp_path: Path, content: str) -> None:
    first = choose(tmp_path, launch())
    (first.folder / "provenance.json").write_text(content)
    second = choose(tmp_path, launch())
    assert second.folder.name == "now_1"
    assert f"a damaged run of this task lies at {first.folder}: provenance.json " in second.reason
    assert "no earlier one" not in second.reason
    assert "(it has no checkpoint: delete it)" in second.reason


def test_a_damaged_run_without_a_record_names_its_checkpoint(tmp_path: Path) -> None:
    first = choose(tmp_path, launch())
    (first.folder / "provenance.json").unlink()
    (first.folder / "checkpoints").mkdir()
    (first.folder / "checkpoints" / "last.ckpt").write_bytes(b"x")
    assert (
        f"(to start from it: config.ckpt_path={first.folder}/checkpoints/last.ckpt)"
        in choose(tmp_path, launch()).reason
    )


def test_a_good_run_is_continued_beside_a_damaged_one(tmp_path: Path) -> None:
    damaged, good = choose(tmp_path, launch()), choose(tmp_path, launch(), may_continue=False)
    (damaged.folder / "provenance.json").write_text("{")
    again = choose(tmp_path, launch())
    assert again.folder == good.folder
    assert again.reason.startswith("continuing the interrupted run now_1; a damaged run of this task lies at")


def test_what_is_no_run_or_another_one_is_no_damaged_run_of_this_task(tmp_path: Path) -> None:
    other = choose(tmp_path, launch(identity="b2"))
    record = json.loads((other.folder / "provenance.json").read_text())
    (other.folder / "provenance.json").write_text(json.dumps({**record, "budget": 3}))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert choose(tmp_path, launch()).reason == "a new run: there is no earlier one of this identity"


def test_of_many_damaged_runs_only_some_are_named(tmp_path: Path) -> None:
    for _ in range(5):
        run = choose(tmp_path, launch(), may_continue=False)
        (run.folder / "provenance.json").write_text("{")
    reason = choose(tmp_path, launch()).reason
    assert reason.count("a damaged run of this task lies at") == 3
    assert reason.endswith("; 2 more are damaged")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize("mode", [0o755, 0o000])
def test_another_users_run_is_left_alone_and_stops_nothing(mode: int) -> None:
    """The launch is a process of its own, as another user than root, who may read everything."""
    with tempfile.TemporaryDirectory() as shared:  # What pytest makes is for one user alone.
        Path(shared).chmod(0o777)
        check_beside_another_users_run(Path(shared), mode)


def check_beside_another_users_run(root: Path, mode: int) -> None:
    theirs = choose(root, launch())
    theirs.folder.chmod(mode)
    before = (theirs.folder / "provenance.json").read_bytes()

    def start() -> str:
        run = choose(root, launch())
        assert run.folder.name == "now_1"
        return run.reason

    reason = as_another_user(start)
    read = "a new run: now, of the same identity, belongs to another user"
    unread = "passed over what other users left here and nobody else may read (1)"
    assert reason == (read if mode else f"a new run: there is no earlier one of this identity; {unread}")
    assert (theirs.folder / "provenance.json").read_bytes() == before
    theirs.folder.chmod(0o755)


def as_another_user(work: Callable[[], str]) -> str:
    """Returns what a function returns in a process of another user."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setuid(12345)
            text = work()
        except BaseException as error:
            text = f"failed: {error!r}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as file:
        return file.read()


def test_a_folder_that_cannot_be_locked_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(tmp_path, launch())
    acquire, failures = FolderLock.acquire, [PermissionError(13, "Permission denied")]

    def fail_once(lock: FolderLock) -> bool:
        if failures:
            raise failures.pop()
        return acquire(lock)

    monkeypatch.setattr(FolderLock, "acquire", fail_once)
    reason = choose(tmp_path, launch()).reason
    assert reason == "a new run: now cannot be written to: Permission denied"


def test_a_run_that_finishes_while_its_lock_is_waited_for_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choose(tmp_path, launch())
    wanted = launch()
    earlier = earlier_runs(tmp_path, wanted)
    end(first, "finished")
    run = choose_folder(tmp_path / "now", wanted, earlier, may_continue=True)
    run.lock.release()
    assert run.reason == "a new run: now is finished at this budget"


def test_each_record_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(tmp_path, launch())
    choose(tmp_path, launch(identity="b2"))
    read = list[str]()

    def note(folder: Path, name: str) -> bytes:
        read.append(f"{folder.name}/{name}")
        return read_bytes(folder, name)

    monkeypatch.setattr("common.run.record.read_bytes", note)
    assert choose(tmp_path, launch()).folder.name == "now"
    assert [name for name in read if name.startswith("now")] == ["now/provenance.json", "now_1/provenance.json"]


def test_a_finished_run_that_cannot_be_kept_is_left_alone(tmp_path: Path) -> None:
    """A limit on files' sizes stands for a full disk."""
    first = choose(tmp_path, launch())
    end(first, "finished")
    (first.folder / "metrics.csv").write_bytes(bytes(100_000))
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != ".lock"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        run = choose(tmp_path, launch(budget={"trainer.max_epochs": 5}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.reason == "a new run: now is finished, and what was finished cannot be kept: File too large"
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir() if path.name != ".lock"} == before
    assert FolderLock(first.folder).acquire()


def test_a_finished_run_is_kept_until_the_launch_that_prolongs_it_has_saved(tmp_path: Path) -> None:
    first = choose(tmp_path, launch())
    end(first, "finished")
    before = (first.folder / "provenance.json").read_bytes()
    longer = launch(budget={"trainer.max_epochs": 5})
    assert choose(tmp_path, longer).folder == first.folder  # And then it is killed.
    assert read_record(first.folder).budget == {"trainer.max_epochs": 5}
    assert choose(tmp_path, launch()).reason == "a new run: now is finished at this budget"
    shutil.rmtree(tmp_path / "now_1")
    assert choose(tmp_path, longer).reason == "continuing the finished run now"
    assert (first.folder / ".finished" / "provenance.json").read_bytes() == before
