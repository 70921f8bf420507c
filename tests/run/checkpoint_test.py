"""Checkpoints are written whole, and read without running what they hold."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.errors import ConfigError, DamagedRunError, RunError
from common.run.checkpoint import BEST, LAST, PREVIOUS, link, read_checkpoint, read_newest_checkpoint, write_checkpoint


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
    path = tmp_path / "last.ckpt"
    write_checkpoint(path, {"step": 1})

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(RunError, match=r"the disk is full\. What was saved before is intact"):
        write_checkpoint(path, {"step": 2})
    assert read_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir() if file.is_file() and "previous" not in file.name] == ["last.ckpt"]


def flip_a_bit(path: Path) -> None:
    """Changes one number of a tensor: torch itself would not notice."""
    content = bytearray(path.read_bytes())
    content[content.index(b"\x00\x00\x80\x3f" * 4)] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "random bytes": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "a list": lambda path: torch.save([1], path),
    "another state": lambda path: torch.save({"step": 9}, path),
    "a bit": flip_a_bit,
}


def save_three(folder: Path) -> None:
    """Saves steps 1 to 3; the best is the first."""
    for step in (1, 2, 3):
        write_checkpoint(folder / LAST, {"step": step, "w": torch.ones(100)})
        if step == 1:
            link(folder / LAST, folder / BEST)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("num_damaged", [1, 2])
def test_the_newest_whole_one_is_used_and_takes_the_damaged_ones_place(
    tmp_path: Path, damage: Callable[[Path], object], num_damaged: int, caplog: pytest.LogCaptureFixture
) -> None:
    save_three(tmp_path)
    for name in (LAST, PREVIOUS)[:num_damaged]:
        damage(tmp_path / name)
    expected = {1: 2, 2: 1}[num_damaged]
    assert read_newest_checkpoint(tmp_path / LAST, ("w",), is_own=True)["step"] == expected
    assert "An older one is used" in caplog.text
    assert read_checkpoint(tmp_path / LAST)["step"] == expected
    assert read_checkpoint(tmp_path / BEST)["step"] == 1


@pytest.mark.parametrize("damage", [DAMAGES["empty"], DAMAGES["a bit"]], ids=["empty", "a bit"])
def test_where_none_is_whole_nothing_changes_and_all_is_said(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    save_three(tmp_path)
    for name in (LAST, PREVIOUS, BEST):
        damage(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.ckpt")}
    with pytest.raises(DamagedRunError, match=r"No checkpoint of this run is good, and nothing was changed") as error:
        read_newest_checkpoint(tmp_path / LAST, is_own=True)
    assert "Error" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.ckpt")} == before


def test_a_best_that_is_the_damaged_last_is_replaced_too(tmp_path: Path) -> None:
    """Both names lead to one file. The step that made it the best is taken again."""
    save_three(tmp_path)
    link(tmp_path / LAST, tmp_path / BEST)
    with (tmp_path / LAST).open("r+b") as file:
        file.truncate(10)
    assert read_newest_checkpoint(tmp_path / LAST, is_own=True)["step"] == 2
    assert read_checkpoint(tmp_path / BEST)["step"] == 2


@pytest.mark.parametrize(
    "damage", [DAMAGES["empty"], DAMAGES["half"], DAMAGES["a list"]], ids=["empty", "half", "list"]
)
def test_no_damage_is_told_by_the_name_of_an_error(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    save_three(tmp_path)
    damage(tmp_path / LAST)
    with pytest.raises(ConfigError) as error:
        read_checkpoint(tmp_path / LAST)
    assert not re.search(r"\w+Error|Exception", str(error.value))
