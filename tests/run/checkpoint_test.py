"""Checkpoints are written whole, and read without running what they hold."""

import os
import pickle
import re
from pathlib import Path

import pytest
import torch

from common.errors import ConfigError, RunError
from common.run.checkpoint import LAST, PREVIOUS, link, read_checkpoint, read_newest_checkpoint, write_checkpoint


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    checkpoint = {"state_dict": {"w": torch.tensor([0.1, -0.0])}, "step": 3, "nested": {"list": [1, "x", None]}}
    write_checkpoint(tmp_path / "new" / "last.ckpt", checkpoint)
    read = read_checkpoint(tmp_path / "new" / "last.ckpt")
    assert torch.equal(read.pop("state_dict")["w"], checkpoint.pop("state_dict")["w"])  # type: ignore[index]
    assert {key: read[key] for key in checkpoint} == checkpoint


@pytest.mark.parametrize("is_new", [True, False], ids=["once", "twice"])
def test_a_second_name_leaves_no_third(tmp_path: Path, is_new: bool) -> None:
    """A launch that continues gives the name again, in case that the one before could not."""
    last, best = tmp_path / "lightning" / "last.ckpt", tmp_path / "lightning" / "best.ckpt"
    write_checkpoint(last, {"step": 3})
    for _ in range(1 if is_new else 2):
        link(last, best)
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt", "best.ckpt"}
    assert best.samefile(last)


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    torch.save({"state_dict": {}, "x": Evil(marker)}, tmp_path / "evil.ckpt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not marker.exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_checkpoint(tmp_path / "evil.ckpt")
    assert not marker.exists()


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None], ids=["empty", "text", "cut short"])
def test_a_damaged_file_is_told_in_one_line(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, {"w": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(ConfigError) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f"The checkpoint {path} cannot be read: ")
    assert "damaged" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no checkpoint .*missing\.ckpt"):
        read_checkpoint(tmp_path / "missing.ckpt")


def test_a_failing_write_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one before that."""
    path = tmp_path / "last.ckpt"
    for step in (0, 1):
        write_checkpoint(path, {"step": step})

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(RunError, match=r"the disk is full\. What was saved before is intact"):
        write_checkpoint(path, {"step": 2})
    assert read_checkpoint(path)["step"] == 1
    assert read_checkpoint(tmp_path / PREVIOUS)["step"] == 0
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == {LAST, PREVIOUS}


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None], ids=["empty", "cut short", "a list"])
def test_no_damage_is_told_by_the_name_of_an_error(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / LAST
    torch.save([1], path)
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(ConfigError) as error:
        read_checkpoint(path)
    assert not re.search(r"\w+Error|Exception", str(error.value))


def test_whoever_looks_at_a_run_reads_its_newest_checkpoint_that_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        write_checkpoint(tmp_path / LAST, {"step": step})
    assert read_newest_checkpoint(tmp_path / LAST)["step"] == 3
    (tmp_path / LAST).write_bytes(b"")
    assert read_newest_checkpoint(tmp_path / LAST)["step"] == 2
    assert f"An older one is used: {tmp_path / PREVIOUS}" in caplog.text
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(ConfigError, match=r"last\.ckpt cannot be read: it is empty"):
        read_newest_checkpoint(tmp_path / LAST)
    assert not (tmp_path / PREVIOUS).exists()
