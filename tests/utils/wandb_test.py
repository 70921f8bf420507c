"""Where the W&B key comes from, which key files are refused, and that the key stays out of every file."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.run.wandb import sync_command
from common.utils.wandb import KEY_FILE_NAME, login_wandb
from tests.conftest import MNIST_PROJECT
from tests.processes import start

FILE_KEY, OWN_KEY = "f" * 40, "e" * 40


@pytest.fixture
def key_file(root: Path) -> Path:
    path = root / KEY_FILE_NAME
    path.write_text(f"{FILE_KEY}\n")
    path.chmod(0o600)
    return path


def test_without_a_key_there_is_no_login() -> None:
    assert login_wandb() is False
    assert "WANDB_API_KEY" not in os.environ


def test_the_file_wins_over_the_environment(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", OWN_KEY)
    assert login_wandb() is True
    assert os.environ["WANDB_API_KEY"] == FILE_KEY


def test_the_environment_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", OWN_KEY)
    assert login_wandb() is True
    assert os.environ["WANDB_API_KEY"] == OWN_KEY


def test_the_users_own_login_is_last(tmp_path: Path) -> None:
    netrc = Path(os.environ["NETRC"])
    netrc.write_text(f"machine api.wandb.ai\n  login user\n  password {OWN_KEY}\n")
    netrc.chmod(0o600)
    assert login_wandb() is True


@pytest.mark.parametrize("text", ["machine github.com login x password y\n", "this is not a netrc file\n", ""])
def test_a_netrc_without_wandb_is_no_login(text: str) -> None:
    netrc = Path(os.environ["NETRC"])
    netrc.write_text(text)
    netrc.chmod(0o600)
    assert login_wandb() is False


def test_the_users_own_server_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = Path(os.environ["NETRC"])
    netrc.write_text(f"machine wandb.example.org login user password {OWN_KEY}\n")
    netrc.chmod(0o600)
    assert login_wandb() is False
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert login_wandb() is True


@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666, 0o777])
def test_a_file_that_everybody_can_write_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {key_file}"):
        login_wandb()
    assert "WANDB_API_KEY" not in os.environ


def test_a_file_of_another_user_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        login_wandb()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_warned_of(key_file: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    key_file.chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert login_wandb() is True
    assert f"{key_file} can be read by others. Run: chmod 600 {key_file}" in caplog.text
    assert FILE_KEY not in caplog.text


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_not_warned_of(key_file: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    key_file.chmod(mode)
    assert login_wandb() is True
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b" \n\t\n"])
def test_an_empty_file_is_refused(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(ConfigError, match="is empty"):
        login_wandb()


def test_a_file_that_is_no_text_is_refused_without_showing_it(key_file: Path) -> None:
    key_file.write_bytes(b"\xff\xfe" + FILE_KEY.encode())
    with pytest.raises(ConfigError, match="cannot be read") as error:
        login_wandb()
    assert FILE_KEY not in str(error.value)


def test_a_folder_in_place_of_the_file_is_refused(root: Path) -> None:
    (root / KEY_FILE_NAME).mkdir(mode=0o700)
    with pytest.raises(ConfigError, match="cannot be read"):
        login_wandb()


def test_the_sync_command_names_the_runs_folder(tmp_path: Path) -> None:
    assert sync_command(tmp_path) == f"wandb sync {tmp_path}/wandb/offline-run-*"


@pytest.mark.slow
def test_the_key_is_in_no_file_of_a_run(key_file: Path, run_folder) -> None:
    words = [
        sys.executable,
        str(MNIST_PROJECT / "train.py"),
        "task=fnn",
        "datamodule.config.source=digits",
        "trainer.max_epochs=1",
        "trainer.limit_train_batches=2",
        "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=1",
    ]
    process = start(words, {**os.environ, "WANDB_MODE": "offline"})
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    folder = run_folder()
    assert list((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert json.loads((folder / "provenance.json").read_text())["status"] == "finished"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if FILE_KEY.encode() in path.read_bytes()] == []
    assert FILE_KEY not in printed
