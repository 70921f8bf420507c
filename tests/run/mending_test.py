"""Before a launch writes anything, its checkpoints are whole again, or it is refused and nothing has changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.errors import ConfigError
from common.run.checkpoint import (
    BEST,
    BEST_SO_FAR,
    LAST,
    PREVIOUS,
    link,
    read_checkpoint,
    read_newest_checkpoint,
    write_checkpoint,
)
from common.run.mending import mend_checkpoints

LOSSES = {1: 0.5, 2: 0.7, 3: 0.9}
"""What each step's network is worth, unless a test says otherwise."""


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a run's checkpoints are."""
    return tmp_path / "checkpoints"


def save(folder: Path, losses: dict[int, float] = LOSSES) -> Path:
    """Saves steps as a run does, in which each was validated; returns where."""
    best = float("inf")
    for step, loss in losses.items():
        is_own, best = loss < best, min(loss, best)
        state = {"step": step, "w": torch.ones(100), BEST_SO_FAR: {"loss": best, "is_own": is_own}}
        write_checkpoint(folder / LAST, state)
        if is_own:
            link(folder / LAST, folder / BEST)
    return folder


def steps_in(folder: Path) -> list[int]:
    """Returns which step each checkpoint holds: the last, the one before, the best."""
    return [read_checkpoint(folder / name)["step"] for name in (LAST, PREVIOUS, BEST)]


def content_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Returns what each file holds, and which file it is."""
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in folder.iterdir()}


def cut(path: Path) -> None:
    """Cuts a file short in its place: under all of its names."""
    with path.open("r+b") as file:
        file.truncate(100)


def test_what_is_whole_is_left_as_it_is(folder: Path) -> None:
    assert mend_checkpoints(folder) == []
    before = content_of(save(folder))
    assert mend_checkpoints(folder) == []
    assert content_of(folder) == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("num_damaged", [1, 2])
def test_the_newest_whole_one_takes_the_damaged_ones_place(
    folder: Path, damage: Callable[[Path], object], num_damaged: int
) -> None:
    save(folder)
    for name in (LAST, PREVIOUS)[:num_damaged]:
        damage(folder / name)
    (note,) = mend_checkpoints(folder)
    used = folder / (PREVIOUS if num_damaged == 1 else BEST)
    assert note.endswith(f"An older one is used: {used}")
    assert len(note.splitlines()) == 1 + num_damaged
    assert read_checkpoint(folder / LAST)["step"] == {1: 2, 2: 1}[num_damaged]
    assert read_checkpoint(folder / BEST)["step"] == 1
    assert mend_checkpoints(folder) == []


@pytest.mark.parametrize("damage", [DAMAGES["empty"], DAMAGES["a bit"]], ids=["empty", "a bit"])
def test_where_none_is_whole_nothing_changes_and_all_is_said(folder: Path, damage: Callable[[Path], object]) -> None:
    save(folder)
    for name in (LAST, PREVIOUS, BEST):
        damage(folder / name)
    before = content_of(folder)
    with pytest.raises(ConfigError, match=r"No checkpoint of this run is good, and nothing was changed") as error:
        mend_checkpoints(folder)
    assert "Error" not in str(error.value)
    assert content_of(folder) == before


def test_a_best_that_is_the_damaged_last_is_replaced_too(folder: Path) -> None:
    """Both names lead to one file. The step that made it the best is taken again."""
    save(folder, {1: 0.5, 2: 0.7, 3: 0.3})
    cut(folder / LAST)
    mend_checkpoints(folder)
    assert steps_in(folder) == [2, 2, 2]


def test_a_best_that_was_not_yet_given_its_name_gets_it(folder: Path) -> None:
    save(folder, {1: 0.5, 2: 0.7, 3: 0.3})
    link(folder / PREVIOUS, folder / BEST)
    assert mend_checkpoints(folder) == []
    assert steps_in(folder) == [3, 2, 3]


@pytest.mark.parametrize("damage", [Path.unlink, DAMAGES["half"]], ids=["missing", "half"])
def test_a_best_that_another_checkpoint_holds_is_had_from_there(folder: Path, damage: Callable[[Path], object]) -> None:
    save(folder, {1: 0.5, 2: 0.3, 3: 0.4})
    content = (folder / BEST).read_bytes()
    (folder / BEST).unlink()  # Another file, as after a move to another disk.
    (folder / BEST).write_bytes(content)
    damage(folder / BEST)
    assert mend_checkpoints(folder) == [f"{folder / BEST} was damaged or missing; {PREVIOUS} holds that network."]
    assert steps_in(folder) == [3, 2, 2]


@pytest.mark.parametrize("damage", [cut, lambda path: path.write_bytes(b"")], ids=["half", "empty"])
def test_a_lost_best_is_refused_and_nothing_changes(folder: Path, damage: Callable[[Path], object]) -> None:
    """It and the one before are two names of one file."""
    save(folder, {1: 0.5, 2: 0.3, 3: 0.4})
    damage(folder / PREVIOUS)
    before = content_of(folder)
    with pytest.raises(ConfigError, match=r"best\.ckpt, the best so far \(validation loss 0\.3\), is damaged") as error:
        mend_checkpoints(folder)
    assert str(error.value).endswith(f"config.ckpt_path={folder / LAST}")
    assert content_of(folder) == before


def test_a_lost_best_is_refused_before_a_damaged_last_is_mended(folder: Path) -> None:
    save(folder, {1: 0.3, 2: 0.5, 3: 0.4})
    cut(folder / LAST)
    cut(folder / BEST)
    before = content_of(folder)
    with pytest.raises(ConfigError, match="Nothing was changed"):
        mend_checkpoints(folder)
    assert content_of(folder) == before


def test_a_run_that_validates_nothing_needs_no_best(folder: Path) -> None:
    for step in (1, 2):
        write_checkpoint(folder / LAST, {"step": step})
    (folder / LAST).write_bytes(b"")
    mend_checkpoints(folder)
    assert read_newest_checkpoint(folder / LAST)["step"] == 1
    assert not (folder / BEST).exists()
