"""What a configuration leaves to the surroundings is written down before a run begins."""

from pathlib import Path
from typing import Any

import pytest
from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from common.config import CONTINUE
from common.errors import ConfigError
from common.launch.point import settle


class Component:
    """Pins down its source."""

    @classmethod
    def settle(cls, node: DictConfig) -> dict[str, Any]:
        """Says which of two it found."""
        node.source = f"found {node.source}"
        return {node.name: node.source}


class Silent:
    """Leaves nothing to the surroundings."""


def config(**given: Any) -> DictConfig:
    own = {"data_dir": "data", "output_dir": "/runs/1", "ckpt_path": None} | given
    parts = {
        "first": {"_target_": f"{__name__}.Component", "source": "auto", "name": "a"},
        "second": {"_target_": f"{__name__}.Component", "source": "other", "name": "b"},
        "silent": {"_target_": f"{__name__}.Silent", "source": "auto"},
        "none": None,
        "plain": {"source": "auto"},
    }
    made: DictConfig = OmegaConf.create({"config": own, "hydra": OmegaConf.structured(HydraConf), **parts})
    return made


def test_every_component_says_what_it_found() -> None:
    settled = config()
    assert settle(settled) == {"a": "found auto", "b": "found other"}
    assert settled.first.source == "found auto"
    assert settled.silent.source == settled.plain.source == "auto"


def test_relative_paths_begin_where_the_command_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    (tmp_path / "a.ckpt").touch()
    settled = config(ckpt_path="a.ckpt")
    settle(settled)
    assert settled.config.data_dir == str(tmp_path / "data")
    assert settled.config.ckpt_path == str(tmp_path / "a.ckpt")
    settled = config(data_dir="~/data")
    settle(settled)
    assert settled.config.data_dir == "/home/somebody/data"


@pytest.mark.parametrize("ckpt_path", [None, CONTINUE])
def test_what_names_no_file_stays(ckpt_path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settled = config(ckpt_path=ckpt_path)
    settle(settled)
    assert settled.config.ckpt_path == ckpt_path


def test_a_data_folder_of_the_name_that_means_continuing_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settled = config(data_dir=CONTINUE)
    settle(settled)
    assert settled.config.data_dir == str(tmp_path / CONTINUE)


def test_a_checkpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^config\.ckpt_path='{tmp_path}/no\.ckpt': there is no such file\.$"):
        settle(config(ckpt_path=str(tmp_path / "no.ckpt")))
    with pytest.raises(ConfigError, match="there is no such file"):
        settle(config(ckpt_path=str(tmp_path)))
