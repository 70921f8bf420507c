"""One run of the command line, in this process: what it leaves, and how it is loaded back."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import common.run
from common.errors import ConfigError
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
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    return tmp_path / "run"


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


def test_a_run_without_a_checkpoint_is_told(cli, run_folder) -> None:
    assert cli("task=fnn", *FAST).status == 0
    shutil.rmtree(run_folder() / "lightning")
    with pytest.raises(ConfigError, match="There is no checkpoint"):
        common.run.load(run_folder())
