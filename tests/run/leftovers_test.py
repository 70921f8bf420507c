"""What dead processes left half made goes, and what living ones are making stays."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.run.atomic import ABANDONED_S, NEW, folder_prefix, leftovers_in, remove_leftovers, temporary_name
from common.run.folder import make_ready, reserve_folder
from common.run.process import this_process

HALF_WAY = """
import os, signal, sys
from pathlib import Path
from common.run.atomic import write_atomically
from common.run.folder import reserve_folder
def stop(*_): os.kill(os.getpid(), signal.SIGKILL)
place = Path(sys.argv[2])
if sys.argv[1] == "file":
    write_atomically(place / "last.ckpt", lambda file: (file.write(b"half"), file.flush(), stop()))
else:
    reserve_folder(place / "now", lambda folder: ((folder / "first").touch(), stop()))
"""


@pytest.fixture(params=["file", "folder"])
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What a process left that was killed while it wrote a file, or made a run's folder."""
    place = tmp_path / "place"
    place.mkdir()
    words = [sys.executable, "-c", HALF_WAY, request.param, str(place)]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    (left,) = place.iterdir()
    return left


def test_what_a_killed_process_left_goes(left: Path) -> None:
    assert list(leftovers_in(left.parent)) == [left]
    remove_leftovers(left.parent)
    assert not left.exists()


def test_the_next_launch_removes_it_from_its_folder_and_from_beside_it(left: Path, tmp_path: Path) -> None:
    folder = left.parent / "run"
    (folder / "lightning").mkdir(parents=True)
    inside = [folder / left.name, folder / "lightning" / left.name]
    for path in inside:
        path.write_text("half")
    make_ready(folder, "lightning")
    assert not any(path.exists() for path in [left, *inside])
    assert (folder / "lightning").is_dir()


def test_a_new_folder_beside_it_removes_it(left: Path) -> None:
    reserve_folder(left.parent / "other", lambda folder: (folder / "first").touch())
    assert [path.name for path in left.parent.iterdir()] == ["other"]


def test_what_this_process_is_making_stays(tmp_path: Path) -> None:
    (tmp_path / temporary_name("last.ckpt")).touch()
    (tmp_path / f"{folder_prefix(NEW)}abc").mkdir()
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.glob(".*"))) == 2


def test_under_the_lock_whatever_is_half_made_is_left_over(tmp_path: Path) -> None:
    """Another machine's process died here a second ago: nobody else than the holder may write."""
    (tmp_path / ".last.ckpt.12-34-elsewhere.tmp").touch()
    remove_leftovers(tmp_path, is_locked=True)
    assert list(tmp_path.glob(".*.tmp")) == []


def test_a_number_that_another_process_has_now_keeps_nothing(tmp_path: Path) -> None:
    me = this_process()
    assert me.start_time is not None
    path = tmp_path / temporary_name("last.ckpt").replace(f"-{me.start_time}-", f"-{me.start_time - 1}-")
    path.touch()
    remove_leftovers(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("name", [".new-12-34-elsewhere+x", ".new-abc123", ".last.ckpt.12-34-elsewhere.tmp"])
@pytest.mark.parametrize(("age_s", "stays"), [(ABANDONED_S - 60, True), (ABANDONED_S + 60, False)])
def test_of_another_machines_what_was_not_touched_for_long_goes(
    tmp_path: Path, name: str, age_s: float, stays: bool
) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    remove_leftovers(tmp_path)
    assert (tmp_path / name).exists() is stays


@pytest.mark.parametrize("name", ["2026-01-31_12-00-00", "last.ckpt", ".lock", ".hydra", ".notes.tmp", "x.1-2-y.tmp"])
def test_nothing_else_goes(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    os.utime(tmp_path / name, (0, 0))
    remove_leftovers(tmp_path, is_locked=True)
    assert (tmp_path / name).exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    link = tmp_path / f".new-{2**22 + 1}-1-{socket.gethostname()}+x"
    link.symlink_to(tmp_path / "precious")
    remove_leftovers(tmp_path)
    assert not link.is_symlink()
    assert (tmp_path / "precious" / "file").exists()
