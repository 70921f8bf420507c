"""Uploads are asked for from the real `wandb-osh`; only what it calls to upload is replaced."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.run.upload import MEETING_FOLDER, Uploads

UPLOAD = """#!/bin/sh
echo "$PWD $*" >> {log}
touch "$PWD/run.wandb.synced"
"""

TIMEOUT_S = 60.0


@pytest.fixture
def meeting_folder() -> Path:
    """Where requests are left; nobody has made it yet."""
    return Path(MEETING_FOLDER).expanduser()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Path]:
    """Runs `wandb-osh`, and returns the file that lists its uploads."""
    log, tools = tmp_path / "uploads.txt", tmp_path / "tools"
    tools.mkdir()
    (tools / "wandb").write_text(UPLOAD.format(log=log))
    (tools / "wandb").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment["PATH"] = f"{tools}:{environment['PATH']}"
    program = [str(Path(sys.executable).with_name("wandb-osh")), "--wait", "0", "--", "--include-synced"]
    process = subprocess.Popen(program, env=environment, stderr=subprocess.DEVNULL)
    yield log
    process.terminate()
    process.wait()


def make_piece(folder: Path, name: str) -> Path:
    """Makes what a launch leaves, the newest so far."""
    piece = folder / "wandb" / name
    piece.mkdir(parents=True)
    newest = folder / "wandb" / "latest-run"
    newest.unlink(missing_ok=True)
    newest.symlink_to(name)
    return piece


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_earlier_launches_left_is_uploaded_first(tmp_path: Path, listener: Path, meeting_folder: Path) -> None:
    first = make_piece(tmp_path, "offline-run-20260101_000000-a1")
    second = make_piece(tmp_path, "offline-run-20260102_000000-a1")
    uploads = Uploads(tmp_path)
    wait_until(meeting_folder.is_dir)
    for number in (1, 2, 3):
        uploads.request()
        wait_until(lambda number=number: listener.is_file() and len(listener.read_text().splitlines()) == number)
        wait_until(lambda: not list(meeting_folder.iterdir()))
    expected = [f"{piece} sync --include-synced ." for piece in (first, second, second)]
    assert listener.read_text().splitlines() == expected


def test_nothing_is_asked_where_nobody_listens(tmp_path: Path, meeting_folder: Path) -> None:
    make_piece(tmp_path, "offline-run-20260101_000000-a1")
    Uploads(tmp_path).request()
    assert not meeting_folder.exists()


def test_run_that_logs_online_asks_for_nothing(tmp_path: Path, meeting_folder: Path) -> None:
    meeting_folder.mkdir()
    Uploads(tmp_path).request()
    make_piece(tmp_path, "offline-run-20260101_000000-a1")
    make_piece(tmp_path, "run-20260102_000000-a1")
    Uploads(tmp_path).request()
    assert list(meeting_folder.iterdir()) == []


def test_slow_listener_gets_one_request_and_the_terminal_none(
    tmp_path: Path, meeting_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    meeting_folder.mkdir()
    piece = make_piece(tmp_path, "offline-run-20260101_000000-a1")
    uploads = Uploads(tmp_path)
    for _ in range(3):
        uploads.request()
    (request,) = meeting_folder.iterdir()
    assert request.read_text() == str(piece)
    assert capfd.readouterr() == ("", "")


def test_failing_request_is_told_once(
    tmp_path: Path, meeting_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    meeting_folder.mkdir()
    make_piece(tmp_path, "offline-run-20260101_000000-a1")

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    uploads = Uploads(tmp_path)
    for _ in range(3):
        next(iter(meeting_folder.glob("*.command")), tmp_path / "none").unlink(missing_ok=True)
        uploads.request()
    assert len(caplog.records) == 1
    assert "wandb-osh cannot be asked for uploads ([Errno 28] No space left on device)" in caplog.text
