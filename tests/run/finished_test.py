"""What was finished is there again if a launch that was to prolong it never came to a checkpoint."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from common.run.checkpoint import link
from common.run.finished import FOLDER_NAME, is_kept, keep_finished, put_back_finished, settled
from common.run.lock import FolderLock
from common.run.record import Record, read_record, write_record


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    for name in (".hydra", "lightning"):
        (run / name).mkdir(parents=True)
    write_record(run, Record("plain", "a1", {"n": 1}, {}, {}, status="finished"))
    (run / "metrics.csv").write_text("step,epoch,time\n1,0,1\n2,0,2\n")
    (run / ".hydra" / "config.yaml").write_text("n: 1\n")
    for name in ("last", "previous"):
        (run / "lightning" / f"{name}.ckpt").write_bytes(name.encode())
    return run


def change(folder: Path) -> None:
    """Changes what a launch does before its first checkpoint."""
    write_record(folder, Record("plain", "a1", {"n": 2}, {}, {}))
    (folder / "metrics.csv").write_text("step,epoch,time\n1,0,1\n")
    (folder / ".hydra" / "config.yaml").write_text("n: 2\n")


def save(folder: Path) -> None:
    """Writes a checkpoint as `write_checkpoint` does: a new file gets the name."""
    (folder / "lightning" / "new").write_bytes(b"last")
    (folder / "lightning" / "new").replace(folder / "lightning" / "last.ckpt")


def test_all_is_put_back_byte_for_byte(folder: Path) -> None:
    before = content_of(folder)
    keep_finished(folder, "lightning")
    change(folder)
    assert put_back_finished(folder)
    assert content_of(folder) == before
    assert not put_back_finished(folder)


def test_nothing_is_put_back_once_there_is_a_new_checkpoint(folder: Path) -> None:
    keep_finished(folder, "lightning")
    change(folder)
    save(folder)
    after = content_of(folder)
    assert not is_kept(folder)
    assert settled(folder) == folder
    assert not put_back_finished(folder)
    assert content_of(folder) == {name: text for name, text in after.items() if not name.startswith(FOLDER_NAME)}


def test_an_older_checkpoint_in_a_damaged_ones_place_is_no_new_one(folder: Path) -> None:
    keep_finished(folder, "lightning")
    change(folder)
    link(folder / "lightning" / "previous.ckpt", folder / "lightning" / "last.ckpt")
    assert put_back_finished(folder)
    assert read_record(folder).status == "finished"


def test_putting_back_may_be_cut_off_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_of(folder)
    keep_finished(folder, "lightning")
    change(folder)
    rename, renamed = Path.replace, list[Path]()

    def fail_at_the_second(path: Path, target: Any) -> Any:
        if len(renamed) == 1:
            raise KeyboardInterrupt
        renamed.append(path)
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            put_back_finished(folder)
    assert put_back_finished(folder)
    assert content_of(folder) == before


def test_a_reader_sees_what_was_finished_unless_a_process_works_on_it(folder: Path) -> None:
    keep_finished(folder, "lightning")
    change(folder)
    assert read_record(settled(folder)).status == "finished"
    assert json.loads((settled(folder) / "provenance.json").read_text())["budget"] == {"n": 1}
    lock = FolderLock(folder)
    assert lock.acquire()
    assert settled(folder) == folder
    lock.release()


def test_a_reader_sees_a_job_that_waits(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A squeue that knows job 7, and then no job, and then says nothing."""
    keep_finished(folder, "lightning")
    record = read_record(folder)
    (folder / "provenance.json").write_text(
        json.dumps({**asdict(record), "launches": [], "status": "queued", "slurm": {"job_id": 7, "task": None}})
    )
    (tmp_path / "squeue").write_text("#!/bin/sh\necho 7 N/A 0 PENDING None\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert settled(folder) == folder
    (tmp_path / "squeue").write_text("#!/bin/sh\n")
    assert settled(folder) == folder / FOLDER_NAME
    monkeypatch.setattr("common.run.queue.PAUSE_S", 0)
    (tmp_path / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert settled(folder) == folder


def test_copies_behind_a_link_do_not_count(folder: Path, tmp_path: Path) -> None:
    keep_finished(folder, "lightning")
    (folder / FOLDER_NAME).rename(tmp_path / "elsewhere")
    (folder / FOLDER_NAME).symlink_to(tmp_path / "elsewhere")
    assert settled(folder) == folder
    change(folder)
    assert not put_back_finished(folder)
    assert read_record(folder).budget == {"n": 2}
