"""One cluster for all tests here, and commands that are typed on its login node."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from common.run.metrics import read_metrics
from tests.processes import Process, start
from tests.slurm.cluster import missing, running_cluster

REPOSITORY = Path(__file__).resolve().parents[2]

DEFAULTS = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "datamodule.config.source=digits",
    "trainer.log_every_n_steps=1",
)
TIMEOUT_S = 240.0
POLL_S = 0.1


@dataclass
class LoginNode:
    """Runs commands as a person would who has logged in.

    Attributes:
        environment: Leads SLURM's commands to the cluster.
        root: `AI_RESEARCH_PATH`.
        repository: The work tree whose code is run.
    """

    environment: dict[str, str]
    root: Path
    repository: Path = REPOSITORY

    def start(self, task: str, *overrides: str) -> Process:
        """Starts a command, and does not wait for it."""
        program = self.repository / "projects" / "classify_mnist" / "train.py"
        own = {
            "AI_RESEARCH_PATH": str(self.root),
            "NETRC": str(self.root / "netrc"),
            "PYTHONPATH": str(self.repository),
        }
        words = [sys.executable, str(program), f"task={task}", *DEFAULTS, *overrides]
        return start(words, self.environment | own, is_warm=self.repository == REPOSITORY)

    def run(self, task: str, *overrides: str) -> tuple[int, str]:
        """Runs a command to its end; returns its status and what it printed."""
        process = self.start(task, *overrides)
        printed, _ = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, printed

    def slurm(self, *words: str) -> str:
        """Runs one of SLURM's commands."""
        said = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        return said.stdout.strip()

    def folders(self, task: str) -> list[Path]:
        """Returns the folders of a task's runs and sweeps."""
        return sorted((self.root / "data" / "classify_mnist" / task).glob("[!.]*"))

    def folder(self, task: str) -> Path:
        """Returns the one folder that there is."""
        (folder,) = self.folders(task)
        return folder


def wait_for(what: Callable[[], Any]) -> Any:
    """Waits until something is there, and returns it."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(POLL_S)
    raise TimeoutError("It did not come.")


def record_of(folder: Path) -> dict[str, Any]:
    """Returns a run's record."""
    record: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return record


def result_of(folder: Path) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Returns the metrics, without their times, and the parameters after the last step."""
    rows = [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(folder)]
    return rows, torch.load(folder / "lightning" / "last.ckpt", weights_only=True)["state_dict"]


def assert_same_result(folder: Path, other: Path) -> None:
    """Compares two runs, to the last bit."""
    (rows, parameters), (other_rows, other_parameters) = result_of(folder), result_of(other)
    assert rows == other_rows
    assert parameters.keys() == other_parameters.keys()
    assert all(torch.equal(parameters[name], other_parameters[name]) for name in parameters)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a running cluster."""
    reason = missing()
    if reason:
        pytest.skip(f"no SLURM cluster can be started here: {reason}")
    with running_cluster(tmp_path_factory.mktemp("cluster")) as environment:
        yield environment


@pytest.fixture
def login(cluster: dict[str, str], tmp_path: Path) -> LoginNode:
    """The login node, with nothing run so far."""
    return LoginNode(cluster, tmp_path / "root")
