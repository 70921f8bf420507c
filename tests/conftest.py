"""Fixtures for all tests: nothing that one test does to the process is seen by the next.

`cli` and `make_project` run the command line in this process; `cli_in_subprocess` starts a fresh interpreter.
"""

import gc
import logging
import os
import random
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jaxtyping
import numpy as np
import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf.basecontainer import BaseContainer

from common.runner import BaseTaskRunner
from common.utils.misc import available_cpus
from projects.classify_mnist.train import TaskRunner

REPOSITORY = Path(__file__).resolve().parents[1]
MNIST_PROJECT = REPOSITORY / "projects" / "classify_mnist"

SECONDS_OF_A_SLOW_TEST = 3
"""What is reckoned with where the marker does not say how many."""

torch.set_num_threads(1)  # Each worker of the suite has one CPU; a run in it sets its own number.


@dataclass
class Outcome:
    """How a command ended.

    Attributes:
        status: The process's exit status.
        out: What it wrote to the standard output.
        err: What it wrote to the standard error.
    """

    status: int
    out: str
    err: str


class Cli(Protocol):
    """Runs a command line."""

    def __call__(
        self, *arguments: str, project: Path = MNIST_PROJECT, runner: type[BaseTaskRunner] = TaskRunner
    ) -> Outcome:
        """Runs `train.py` of a project with the given arguments."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are CPUs: some tests wait, for SLURM's clock above all, and need none meanwhile."""
    return available_cpus() + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files first that take long: a worker that begins one at the end would work alone."""
    seconds: Counter[Path] = Counter()
    for item in items:
        if marker := item.get_closest_marker("slow"):
            seconds[item.path] += marker.kwargs.get("seconds", SECONDS_OF_A_SLOW_TEST)
    items.sort(key=lambda item: (item.path.parent.name != "slurm", -seconds[item.path], item.path))


def pytest_collection_finish() -> None:
    """Lets the garbage collector look at what tests leave alone, and seldom: it took a fifth of their time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what libraries compute once, such as matplotlib's list of fonts."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caches: Path) -> None:
    """No test sees the settings, the login or the outputs of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "HYDRA_", "SLURM_", "GIT_")):
            monkeypatch.delenv(name)
    for folder in ("home", "root"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    monkeypatch.setenv("MPLCONFIGDIR", str(caches))
    monkeypatch.setenv("XDG_CACHE_HOME", str(REPOSITORY / ".pytest_cache"))  # What Numba compiles takes ten seconds.
    monkeypatch.setenv("AI_RESEARCH_PATH", str(tmp_path / "root"))
    monkeypatch.setattr(sys, "argv", [str(MNIST_PROJECT / "train.py")])


@pytest.fixture(autouse=True)
def isolated_hydra() -> Iterator[None]:
    """Hydra's store of configurations, its current configuration and OmegaConf's resolvers are as before."""
    store, resolvers = ConfigStore.instance(), dict(BaseContainer._resolvers)
    repo = _copied(store.repo)
    config = HydraConfig.instance().cfg
    yield
    store.repo = repo
    HydraConfig.instance().cfg = config
    GlobalHydra.instance().clear()
    BaseContainer._resolvers.clear()
    BaseContainer._resolvers.update(resolvers)


@pytest.fixture(autouse=True)
def isolated_logging() -> Iterator[None]:
    """Handlers and levels of all loggers are as before."""
    root = logging.getLogger()
    before = {logger: (logger.handlers[:], logger.level) for logger in (root, *_loggers())}
    yield
    for handler in set(root.handlers) - set(before[root][0]):
        handler.close()
    for logger in (root, *_loggers()):
        handlers, level = before.get(logger, ([], logging.NOTSET))
        logger.handlers[:] = handlers
        if logger.level != level:  # Each setting of a level visits all loggers.
            logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    return [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]


@pytest.fixture(autouse=True)
def isolated_numbers() -> Iterator[None]:
    """Random states, torch's threads and jaxtyping's switch are as before."""
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state(), torch.get_num_threads()
    is_disabled = jaxtyping.config.jaxtyping_disable
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.random.set_rng_state(states[2])
    torch.set_num_threads(states[3])
    jaxtyping.config.update("jaxtyping_disable", is_disabled)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """AI_RESEARCH_PATH."""
    return tmp_path / "root"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line in this process."""

    def run(*arguments: str, project: Path = MNIST_PROJECT, runner: type[BaseTaskRunner] = TaskRunner) -> Outcome:
        monkeypatch.setattr(sys, "argv", [str(project / "train.py"), *arguments])
        capsys.readouterr()
        status: Any = 0
        try:
            runner.run_task()
        except SystemExit as end:
            status = end.code
        finally:
            GlobalHydra.instance().clear()
        captured = capsys.readouterr()
        return Outcome(status or 0, captured.out, captured.err)

    return run


@pytest.fixture
def cli_in_subprocess() -> Callable[..., Outcome]:
    """Runs Python in a fresh interpreter; by default `train.py` of classify_mnist."""

    def run(*arguments: str, script: Path | str = MNIST_PROJECT / "train.py", **options: Any) -> Outcome:
        result = subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, **options
        )
        return Outcome(result.returncode, result.stdout, result.stderr)

    return run


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Path]:
    """Makes a project folder from the text of its task files, by name."""

    def make(**tasks: str) -> Path:
        project = tmp_path / "scratch_project"
        (project / "task").mkdir(parents=True, exist_ok=True)
        for name, text in tasks.items():
            (project / "task" / f"{name}.yaml").write_text(textwrap.dedent(text).lstrip())
        return project

    return make


@pytest.fixture
def run_folder(root: Path) -> Callable[[], Path]:
    """Returns the folder of the only run there is."""

    def find() -> Path:
        (folder,) = (root / "data").glob("*/*/*")
        return folder

    return find


def _copied(tree: Any) -> Any:
    return {key: _copied(value) for key, value in tree.items()} if type(tree) is dict else tree
