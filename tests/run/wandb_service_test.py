"""W&B's service is killed when it takes too long; a copy of `sleep` under its name stands for one that hangs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.run import wandb as run_wandb
from common.run.wandb import bounded, forget_service, has_failed, pids_of_service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    if "wandb" in sys.modules:  # An earlier test's service may still stand by in this process.
        sys.modules["wandb"].teardown()
    monkeypatch.setattr(run_wandb, "_failures", [])
    program = shutil.copy(str(shutil.which("sleep")), tmp_path / "wandb-core")
    process = subprocess.Popen([program, "600"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def test_what_waits_for_a_service_that_hangs_is_told(
    service: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_wandb, "TIMEOUT_S", 0.1)
    assert pids_of_service(os.getpid()) == [service.pid]

    def wait() -> None:
        service.wait()
        raise ConnectionResetError

    with pytest.raises(TimeoutError, match="did not answer within 0 s and was ended"), bounded():
        wait()
    assert has_failed()
    assert pids_of_service(os.getpid()) == []


def test_service_that_answers_is_left_alone(service: subprocess.Popen[bytes]) -> None:
    with bounded(), bounded():
        pass
    assert service.poll() is None
    assert not has_failed()


def test_error_that_comes_in_time_stays_what_it_is(service: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ZeroDivisionError), bounded():
        raise ZeroDivisionError
    assert service.poll() is None
    assert has_failed()


def test_nothing_is_left_of_a_service_that_is_forgotten(service: subprocess.Popen[bytes]) -> None:
    import wandb  # noqa: F401

    with pytest.raises(ZeroDivisionError), bounded():
        raise ZeroDivisionError
    forget_service()
    assert service.wait() == -9
    assert not has_failed()


def test_only_this_process_s_own_service_counts(service: subprocess.Popen[bytes]) -> None:
    assert pids_of_service(os.getppid()) == []
