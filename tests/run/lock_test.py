"""One writer per folder, on this machine and from others."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError
from common.run import lock as locks
from common.run.lock import CLAIM_NAME, FILE_NAME, LATE_S, FolderLock, is_held, read_holder
from common.run.process import Process, process_start_time


def test_a_held_lock_is_refused_and_a_released_one_is_not(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_a_worker_that_outlives_its_run_does_not_hold_the_lock(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    reader, writer = os.pipe()
    worker = os.fork()
    if worker == 0:  # Holds a copy of the lock's descriptor until the test is over.
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    first.release()
    is_free = second.acquire()
    os.close(writer)
    os.waitpid(worker, 0)
    assert is_free
    second.release()


def test_the_holder_is_named(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    holder = read_holder(tmp_path)
    assert holder is not None
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.is_alive
    lock.release()
    assert read_holder(tmp_path) is None


def test_another_process_with_the_same_number_is_not_the_holder() -> None:
    assert not Process(socket.gethostname(), os.getpid(), 1).is_alive
    assert process_start_time(2**30) is None


def test_a_dead_process_leaves_its_folder_free(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": 2**30, "start_time": 1}))
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    lock.release()


ELSEWHERE = {"host": "elsewhere", "pid": 1, "start_time": 1}


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock of another machine's process, which is watched for a twentieth of a second only."""
    monkeypatch.setattr(locks, "WATCH_S", 0.05)
    monkeypatch.setattr(locks, "POLL_S", 0.002)
    path = tmp_path / FILE_NAME
    path.write_text(json.dumps(ELSEWHERE))
    return path


@pytest.mark.parametrize("age_s", [0, LATE_S - 5])
def test_a_holder_elsewhere_that_was_just_heard_of_has_the_lock(foreign: Path, age_s: float) -> None:
    os.utime(foreign, (time.time() - age_s,) * 2)
    assert not FolderLock(foreign.parent).acquire()
    assert is_held(foreign.parent)


@pytest.mark.parametrize("age_s", [LATE_S + 1, 7200, -3600, -86_400 * 365])
def test_a_silent_holder_elsewhere_is_dead_whatever_its_clock_said(foreign: Path, age_s: float, caplog: Any) -> None:
    os.utime(foreign, (time.time() - age_s,) * 2)
    lock = FolderLock(foreign.parent)
    assert lock.acquire()
    assert "watching for 0 s whether it goes on" in caplog.text
    lock.release()


@pytest.mark.parametrize("skew_s", [-LATE_S - 1, -7200, 3600])
def test_a_holder_elsewhere_that_goes_on_is_alive_whatever_its_clock_says(
    foreign: Path, skew_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "WATCH_S", 60)  # It is heard of long before.
    beats, is_over = iter(range(10**9)), threading.Event()

    def beat() -> None:
        while not is_over.wait(0.01):
            os.utime(foreign, (time.time() + skew_s + next(beats) / 1000,) * 2)

    os.utime(foreign, (time.time() + skew_s - 1,) * 2)
    holder = threading.Thread(target=beat)
    holder.start()
    assert not FolderLock(foreign.parent).acquire()
    is_over.set()
    holder.join()
    assert json.loads(foreign.read_text()) == ELSEWHERE


def test_a_late_holder_elsewhere_that_lets_go_leaves_the_lock(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "WATCH_S", 60)
    os.utime(foreign, (time.time() - 3600,) * 2)
    timer = threading.Timer(0.02, lambda: foreign.write_text(""))
    timer.start()
    lock = FolderLock(foreign.parent)
    assert lock.acquire()
    lock.release()


def test_a_holder_goes_on_touching_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.002)
    others = set(threading.enumerate())
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    for _ in range(2):
        os.utime(tmp_path / FILE_NAME, (0, 0))
        deadline = time.monotonic() + 30
        while (tmp_path / FILE_NAME).stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert abs((tmp_path / FILE_NAME).stat().st_mtime - time.time()) < 60
    lock.release()
    os.utime(tmp_path / FILE_NAME, (0, 0))
    assert not any(thread.name == "folder-lock" for thread in set(threading.enumerate()) - others)


def test_a_heart_goes_on_in_a_folder_that_was_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.002)
    (tmp_path / "a").mkdir()
    lock = FolderLock(tmp_path / "a")
    assert lock.acquire()
    moved = (tmp_path / "a").rename(tmp_path / "b")
    os.utime(moved / FILE_NAME, (0, 0))
    deadline = time.monotonic() + 30
    while (moved / FILE_NAME).stat().st_mtime == 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (moved / FILE_NAME).stat().st_mtime > 0
    lock.release()


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def without_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def refuse(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("without_flock")
def test_without_locks_a_live_holder_is_not_overrun(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    assert first.acquire()
    assert not second.acquire()
    holder = read_holder(tmp_path)
    assert holder is not None
    assert holder.is_alive
    first.release()
    assert second.acquire()
    second.release()


@pytest.mark.usefixtures("without_flock")
def test_without_locks_a_dead_holder_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": 2**30, "start_time": 1}))
    (tmp_path / CLAIM_NAME).write_text(json.dumps({"host": socket.gethostname(), "pid": 2**30, "start_time": 1}))
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    assert not (tmp_path / CLAIM_NAME).exists()
    lock.release()


@pytest.mark.usefixtures("without_flock")
def test_without_locks_one_process_at_a_time_looks_and_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looks while the first has looked and not yet signed."""
    second = FolderLock(tmp_path)
    sign, answers = FolderLock._sign, []

    def sign_late(self: FolderLock, descriptor: int, seen: Any) -> bool:
        if self is not second:
            answers.append(second.acquire())
        return sign(self, descriptor, seen)

    monkeypatch.setattr(FolderLock, "_sign", sign_late)
    first = FolderLock(tmp_path)
    assert first.acquire()
    assert answers == [False]
    first.release()


def test_a_lock_that_another_machine_took_between_two_looks_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks of two machines do not see each other: the file tells."""
    flock = fcntl.flock

    def take_elsewhere_first(*arguments: Any) -> None:
        (tmp_path / FILE_NAME).write_text(json.dumps(ELSEWHERE))
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", take_elsewhere_first)
    assert not FolderLock(tmp_path).acquire()
    assert json.loads((tmp_path / FILE_NAME).read_text()) == ELSEWHERE


def test_a_lock_file_that_was_removed_between_two_looks_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def remove_first(*arguments: Any) -> None:
        (tmp_path / FILE_NAME).unlink()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    assert not FolderLock(tmp_path).acquire()


@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_file_is_neither_locked_nor_changed(tmp_path: Path, kind: str) -> None:
    folder, target = tmp_path / "run", tmp_path / "precious"
    folder.mkdir()
    target.write_text("precious")
    path = folder / FILE_NAME
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(target if kind == "link" else tmp_path / "nothing")
    with pytest.raises(
        ConfigError, match=rf"\.lock is a {'symbolic ' if 'link' in kind else ''}{kind.split()[-1]}, where"
    ):
        FolderLock(folder).acquire()
    assert not is_held(folder)
    assert target.read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "content",
    [b"\0\0\0\0", b"{", b"[]", b'{"host": 1, "pid": "x", "start_time": []}', b"[" * 100_000, bytes(range(256))],
    ids=["NUL", "half", "list", "other types", "deep", "no text"],
)
def test_a_damaged_lock_file_names_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert not is_held(tmp_path)
    lock = FolderLock(tmp_path)
    assert lock.acquire()
    assert is_held(tmp_path)
    lock.release()


def test_two_processes_never_hold_it_together_where_nothing_locks(tmp_path: Path) -> None:
    """Eight take it as fast as they can; each counts, under it, without any other help."""
    code = (
        "import errno, fcntl, sys; from pathlib import Path\n"
        "def refuse(*_): raise OSError(errno.ENOLCK, 'none')\n"
        "fcntl.flock = refuse\n"
        "from common.run.lock import FolderLock\n"
        "lock, counter, num = FolderLock(Path(sys.argv[1])), Path(sys.argv[1]) / 'counter', 0\n"
        "while num < 25:\n"
        "    if lock.acquire():\n"
        "        counter.write_text(str(int(counter.read_text()) + 1)); num += 1; lock.release()\n"
    )
    (tmp_path / "counter").write_text("0")
    words = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "counter").read_text() == "100"
