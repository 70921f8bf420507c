"""A project in the original guide's forms: its task file and its registrations, as they stand there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from common.run.metrics import read_metrics
from tests.processes import start

REPOSITORY = Path(__file__).resolve().parents[2]

TRAIN = """
from dataclasses import dataclass

import torch
from hydra_zen import ZenStore
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig
from common.dl.litmodule.base import BaseLitModule, BaseLitModuleConfig
from common.dl.runner import DeepLearningTaskRunner
from common.utils.hydra_zen import generate_config, generate_config_partial


@dataclass
class MyLitModuleConfig(BaseLitModuleConfig):
    pass


class MyLitModule(BaseLitModule):
    {init}

    def step(self, batch, batch_idx):
        x, y = batch
        y_hat = self.nnmodule(x)
        loss = nn.functional.mse_loss(y_hat, y)
        return {{"loss": loss}}


@dataclass
class MyDataModuleConfig(BaseDataModuleConfig):
    pass


class MyDataModule(BaseDataModule):
    def __init__(self, config, dataloader):
        super().__init__(config=config, dataloader=dataloader)

    def prepare_data(self):
        pass

    def setup(self, stage):
        if stage == "fit":
            generator = torch.Generator().manual_seed(self.config.seed)
            x = torch.randn(40, 100, generator=generator)
            self.datasets.train = TensorDataset(x, x[:, :10])
            self.datasets.val = TensorDataset(x[:20], x[:20, :10])


class TaskRunner(DeepLearningTaskRunner):
    @classmethod
    def store_configs(cls, store: ZenStore):
        super().store_configs(store=store)
        store(
            generate_config(
                MyDataModule,
                config=generate_config(MyDataModuleConfig),
                dataloader=generate_config_partial(DataLoader),
            ),
            name="my_project",
            group="datamodule",
        )
        store(
            generate_config(
                MyLitModule,
                config=generate_config(MyLitModuleConfig),
            ),
            name="my_project",
            group="litmodule",
        )


if __name__ == "__main__":
    TaskRunner.run_task()
"""

TASK = """# @package _global_
defaults:
  - /datamodule: my_project
  - /litmodule: my_project
  - override /hydra/launcher: local
  - _self_

hydra:
  launcher:
    cpus_per_task: 4

config:
  device: cpu

litmodule:
  nnmodule:
    config:
      input_size: 100
      output_size: 10
  optimizer:
    lr: 0.001

logger:
  entity: some_team

trainer:
  max_epochs: 2
"""

OWN_INIT = """def __init__(self, config: MyLitModuleConfig):
        super().__init__(config=config)
"""


def write_project(folder: Path, *, init: str = "pass") -> Path:
    project = folder / "my_project"
    (project / "task").mkdir(parents=True)
    (project / "train.py").write_text(TRAIN.format(init=init))
    (project / "task" / "my_task.yaml").write_text(TASK)
    return project


def environment_of(folder: Path) -> dict[str, str]:
    return {**os.environ, "AI_RESEARCH_PATH": str(folder), "PYTHONPATH": str(REPOSITORY)}


def run(project: Path, task: str, *overrides: str) -> tuple[int, str]:
    """Returns the command's status and what it printed."""
    process = start([sys.executable, str(project / "train.py"), task, *overrides], environment_of(project.parent))
    printed, _ = process.communicate()
    return process.returncode, printed


def config_of(folder: Path) -> DictConfig:
    config = OmegaConf.load(folder / ".hydra" / "config.yaml")
    assert isinstance(config, DictConfig)
    return config


@pytest.mark.slow
def test_the_original_task_file_and_registrations_train(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    words = ("config.seed=7", "logger=none", "config.data_dir=${project}/${task}")
    status, printed = run(project, "task=my_task", *words)
    assert status == 0, printed
    (folder,) = (tmp_path / "data" / "my_project" / "my_task").iterdir()
    losses = [row["val/loss"] for row in read_metrics(folder) if "val/loss" in row]
    assert losses[1] < losses[0]
    assert OmegaConf.select(config_of(folder), "datamodule.config.seed") == 7
    assert config_of(folder).config.data_dir == str(Path.cwd() / "my_project" / "my_task")

    checkpoint = folder / "lightning" / "best.ckpt"  # Its sets are filled for `fit` alone; W&B is on, as by default.
    words = ("config.evaluate_only=true", f"config.ckpt_path={checkpoint}", "config.seed=7")
    status, printed = run(project, "task=my_task", *words)
    assert status == 0, printed
    (second,) = set((tmp_path / "data" / "my_project" / "my_task").iterdir()) - {folder}
    assert read_metrics(second)[-1]["val/loss"] == min(losses)
    assert json.loads((second / "provenance.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_lightning_module_that_takes_its_config_alone_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """In a fresh interpreter, which has imported no project of ours."""
    project = write_project(tmp_path, init=OWN_INIT)
    words = [sys.executable, str(project / "train.py"), "task=my_task"]
    refused = subprocess.run(words, env=environment_of(tmp_path), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == (
        "\nError: __main__.MyLitModule.__init__() drops nnmodule, optimizer, scheduler. Write:\n"
        "    def __init__(self, config, nnmodule, optimizer, scheduler, ...):\n"
        "        super().__init__(config, nnmodule, optimizer, scheduler)\n"
        "or no __init__ at all.\n"
    )


@pytest.mark.slow
def test_an_override_of_what_has_no_default_is_answered_with_the_line_to_write(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    task = project / "task" / "other.yaml"
    task.write_text(TASK.replace("- /datamodule", "- override /datamodule").replace("  - /litmodule: my_project\n", ""))
    status, printed = run(project, "task=other")
    assert status == 2
    assert "write `- /datamodule: <name>`" in printed
