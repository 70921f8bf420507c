"""Lightning's checkpoints are written whole, and read without running code from them."""

from pathlib import Path

import pytest
import torch

from common.dl.checkpointing.checkpointer import AtomicCheckpointIO
from common.errors import ConfigError


class Stranger:
    """Not a plain value."""


def test_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "some.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.arange(3)}, "epoch": 2}, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert loaded["epoch"] == 2
    assert loaded["state_dict"]["weight"].tolist() == [0, 1, 2]
    assert [file.name for file in path.parent.iterdir()] == ["some.ckpt"]


def test_checkpoint_that_holds_more_than_plain_values_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    torch.save({"state_dict": Stranger()}, path)
    with pytest.raises(ConfigError, match=r"some\.ckpt cannot be read"):
        AtomicCheckpointIO().load_checkpoint(path)


def test_removing_a_checkpoint_that_is_gone_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.ckpt"
    AtomicCheckpointIO().save_checkpoint({}, path)
    AtomicCheckpointIO().remove_checkpoint(path)
    AtomicCheckpointIO().remove_checkpoint(path)
    assert not path.exists()
