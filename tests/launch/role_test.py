"""No process of a run, and none that another program started as one of several, becomes a launch of its own."""

import os
import subprocess

import pytest
import torch
from pytorch_lightning import Trainer

from common.dl.ranks import LaunchedEnvironment

LIGHTNINGS_CHILD = {"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "MASTER_PORT": "1"}


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (LIGHTNINGS_CHILD, "LOCAL_RANK=1, WORLD_SIZE=2"),
        ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "WORLD_SIZE=2"),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}, "RANK=3, LOCAL_RANK=1, WORLD_SIZE=4"),
        ({"SLURM_PROCID": "1"}, "SLURM_PROCID=1"),
        ({"OMPI_COMM_WORLD_RANK": "2"}, "OMPI_COMM_WORLD_RANK=2"),
        ({"PMI_RANK": "1"}, "PMI_RANK=1"),
    ],
)
def test_rank_of_another_program_is_no_launch(
    run, outputs, seen: list[float], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = run()
    assert outcome.status == 2
    assert f"Another program started this process as one of several ranks ({said} in the environment)." in outcome.err
    assert "hydra.launcher.tasks_per_node=<number>" in outcome.err
    assert (outputs(), seen) == ([], [])


@pytest.mark.parametrize("environment", [{"RANK": "0", "WORLD_SIZE": "1"}, {"SLURM_PROCID": "0"}, {"RANK": ""}])
def test_process_that_is_alone_runs(run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run().status == 0


def test_lightning_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: started.append(arguments))
    settings = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", plugins=[LaunchedEnvironment()], **settings)
    launcher = trainer.strategy.launcher
    assert launcher is not None
    assert launcher.launch(lambda: "ran here") == "ran here"
    assert started == []
    monkeypatch.setenv("WORLD_SIZE", "2")
    trainer.strategy.cluster_environment.teardown()  # type: ignore[attr-defined]
    assert os.environ["WORLD_SIZE"] == "2"
    assert not torch.distributed.is_initialized()
