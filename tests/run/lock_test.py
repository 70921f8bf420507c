"""One writer per folder, on this machine and from others."""

import json
import os
import socket
from pathlib import Path

from common.run.lock import FILE_NAME, FolderLock, read_holder
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
