"""One run of the command line, in this process: what it leaves, and how it is loaded back."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import common.run
from common.dl.engine import DEEP_LEARNING
from common.dl.load import best_checkpoint
from common.errors import ConfigError
from common.run.checkpoint import BEST_SO_FAR, write_checkpoint
from common.run.record import Record, write_record
from projects.classify_mnist.litmodule import MNISTClassificationLitModule

FAST = (
    "datamodule.config.source=digits",
    "datamodule.config.fixed_per_device_batch_size=64",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.num_sanity_val_steps=0",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "logger=none",
)


def test_a_run_leaves_its_files_and_is_loaded_back(cli, run_folder) -> None:
    outcome = cli("task=fnn", *FAST)
    assert outcome.status == 0, outcome.err
    folder = run_folder()
    assert {path.name for path in folder.iterdir()} >= {
        ".hydra",
        "fnn.log",
        "lightning",
        "metrics.csv",
        "provenance.json",
    }
    assert {path.name for path in (folder / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert str(folder) in outcome.out

    provenance = json.loads((folder / "provenance.json").read_text())
    assert (provenance["status"], provenance["error"], provenance["seed"]) == ("finished", None, 0)
    assert provenance["data"]["source"] == "digits"
    assert "task=fnn" in provenance["command"]

    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
    assert config["config"]["output_dir"] == str(folder)

    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/loss"]]
    assert [row for row in rows if row["val/loss"]]

    run = common.run.load(folder)
    assert isinstance(run.module, MNISTClassificationLitModule)
    assert not run.module.training
    assert run.config.litmodule.optimizer.lr == 0.002
    assert run.metrics[0]["train/loss"] == float(rows[0]["train/loss"])
    saved = torch.load(folder / "lightning" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(saved[name], value) for name, value in run.module.state_dict().items())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    write_record(folder, Record("plain", "a1", {}, {}, {}, DEEP_LEARNING))
    return folder


def test_a_folder_that_is_no_runs_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run's folder"):
        common.run.load(tmp_path)


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.makedirs", "name": "MARKER"},
        {"_target_": "torch.nn.ReLU", "inplace": {"_target_": "os.makedirs", "name": "MARKER"}},
        {"_target_": "torch.nn.ReLU", "inplace": "${oc.create:{_target_: os.makedirs, name: MARKER}}"},
        "${oc.create:{_target_: os.makedirs, name: MARKER}}",
    ],
    ids=str,
)
def test_a_run_of_somebody_else_runs_no_code(folder: Path, tmp_path: Path, node: object) -> None:
    marker = tmp_path / "marker"
    text = yaml.safe_dump({"litmodule": node}).replace("MARKER", str(marker))
    (folder / ".hydra" / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="is not an object that a configuration may name"):
        common.run.load(folder)
    assert not marker.exists()


@pytest.mark.parametrize("loader", ["os", "shutil", "subprocess", "common.cli", "common.check.targets", "nowhere"])
def test_a_record_of_somebody_else_names_no_code(folder: Path, loader: str) -> None:
    write_record(folder, Record("plain", "a1", {}, {}, {}, replace(DEEP_LEARNING, loader=loader)))
    with pytest.raises(ConfigError, match=rf"says that {loader}\.load_run loads it"):
        common.run.load(folder)


def test_a_run_of_an_engine_without_a_loader_is_told(folder: Path) -> None:
    write_record(folder, Record("plain", "a1", {}, {}, {}))
    with pytest.raises(ConfigError, match="an engine that does not say how its runs are loaded"):
        common.run.load(folder)


def saved(folder: Path, name: str, best_loss: float, *, is_new_best: bool) -> None:
    """Writes a checkpoint that holds its own name."""
    best_so_far = {"loss": best_loss, "is_own": is_new_best}
    write_checkpoint(folder / name, {"state_dict": name, BEST_SO_FAR: best_so_far})


def test_the_last_network_is_never_taken_for_the_best(tmp_path: Path) -> None:
    saved(tmp_path, "best.ckpt", 0.5, is_new_best=True)
    saved(tmp_path, "last.ckpt", 0.5, is_new_best=False)
    assert best_checkpoint(tmp_path)["state_dict"] == "best.ckpt"
    (tmp_path / "best.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"best\.ckpt is missing.*lies in .*last\.ckpt, under the key state_dict"):
        best_checkpoint(tmp_path)
    (tmp_path / "best.ckpt").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match=r"best\.ckpt cannot be read"):
        best_checkpoint(tmp_path)


def test_the_last_network_is_loaded_where_it_is_the_best_or_nothing_was_validated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(tmp_path, "last.ckpt", 0.5, is_new_best=True)
    assert best_checkpoint(tmp_path)["state_dict"] == "last.ckpt"
    assert caplog.text == ""
    saved(tmp_path, "last.ckpt", math.inf, is_new_best=False)
    assert best_checkpoint(tmp_path)["state_dict"] == "last.ckpt"
    assert "nothing was validated while it trained, so the last network is loaded" in caplog.text


def test_a_run_without_a_checkpoint_is_told(cli, run_folder) -> None:
    assert cli("task=fnn", *FAST).status == 0
    shutil.rmtree(run_folder() / "lightning")
    with pytest.raises(ConfigError, match="There is no checkpoint"):
        common.run.load(run_folder())
