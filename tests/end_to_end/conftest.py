"""Runs whole commands inside this process, each with its own root for data and outputs, and leaves no trace of them."""

import contextlib
import copy
import importlib
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from omegaconf import DictConfig, OmegaConf

from common.run.metrics import read_metrics

REPOSITORY = Path(__file__).resolve().parents[2]

DIGITS = "datamodule.config.source=digits"
ONE_CPU = "hydra.launcher.cpus_per_task=1"


@dataclass
class Finished:
    """A command that has ended.

    Attributes:
        root: Its `AI_RESEARCH_PATH`.
        status: Its exit status.
        output: What it wrote to stdout and stderr.
    """

    root: Path
    status: int
    output: str

    @property
    def folder(self) -> Path:
        """The one folder of a plain run."""
        folders = [path for path in self.root.glob("data/*/*/*") if (path / ".hydra").is_dir()]
        assert len(folders) == 1, self.output
        return folders[0]

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The rows of `metrics.csv`."""
        return read_metrics(self.folder)

    @property
    def provenance(self) -> dict[str, Any]:
        """The record of the run."""
        record: dict[str, Any] = json.loads((self.folder / "provenance.json").read_text())
        return record

    @property
    def config(self) -> DictConfig:
        """The stored configuration."""
        config = OmegaConf.load(self.folder / ".hydra" / "config.yaml")
        assert isinstance(config, DictConfig)
        return config

    @property
    def log(self) -> str:
        """The run's log."""
        return (self.folder / f"{self.folder.parent.name}.log").read_text()

    @property
    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters after the last step."""
        checkpoint = torch.load(self.folder / "lightning" / "last.ckpt", weights_only=True)
        state: dict[str, torch.Tensor] = checkpoint["state_dict"]
        return state

    def series(self, name: str) -> list[float]:
        """Returns the values of one metric, in the order in which they were logged."""
        return [row[name] for row in self.metrics if name in row]

    def final(self, name: str) -> float:
        """Returns the last value of one metric."""
        return self.series(name)[-1]


@contextlib.contextmanager
def own_process_state(root: Path, arguments: list[str], environment: dict[str, str]) -> Iterator[None]:
    """Gives a command its own arguments and environment, and restores whatever a command changes in a process."""
    environment_before, arguments_before = dict(os.environ), sys.argv
    singletons_before = copy.copy(Singleton.get_state())
    root_logger = logging.getLogger()
    handlers_before, level_before = root_logger.handlers[:], root_logger.level
    threads_before = torch.get_num_threads()
    for name in [name for name in os.environ if name.startswith(("WANDB_", "HYDRA_"))]:
        del os.environ[name]
    os.environ |= {"AI_RESEARCH_PATH": str(root), "NETRC": str(root / "no_netrc")}
    os.environ |= {"WANDB_DATA_DIR": str(root / "wandb_data"), "WANDB_CACHE_DIR": str(root / "wandb_cache")}
    os.environ |= environment
    sys.argv = arguments
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment_before)
        sys.argv = arguments_before
        GlobalHydra.instance().clear()
        Singleton.set_state(singletons_before)
        for handler in root_logger.handlers:
            if handler not in handlers_before:
                handler.close()
        root_logger.handlers[:] = handlers_before
        root_logger.setLevel(level_before)
        torch.set_num_threads(threads_before)
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Finished]:
    """Returns a function that runs a command in this process, on the embedded digits, and waits for its end.

    Every other key is left at its default; W&B finds neither a key nor a setting, and its output is no terminal.

    `command("fnn", "trainer.max_epochs=1")` is `python projects/classify_mnist/train.py task=fnn trainer.max_epochs=1`.
    """

    def run(
        task: str,
        *overrides: str,
        project: str = "classify_mnist",
        environment: dict[str, str] | None = None,
        defaults: tuple[str, ...] = (DIGITS,),
        root: Path | None = None,
    ) -> Finished:
        root = root or tmp_path_factory.mktemp("root")
        runner = importlib.import_module(f"projects.{project}.train").TaskRunner
        arguments = [str(REPOSITORY / "projects" / project / "train.py"), f"task={task}", *defaults, *overrides]
        output, status = io.StringIO(), 0
        with (
            own_process_state(root, arguments, environment or {}),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            try:
                runner.run_task()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        return Finished(root, status, output.getvalue())

    return run


@pytest.fixture(scope="session")
def shipped(command: Callable[..., Finished]) -> Finished:
    """The README's first command, to its end."""
    finished = command("fnn")
    assert finished.status == 0, finished.output
    return finished
