"""W&B fails, hangs, dies, or a run fails while W&B is on: the run, and those after it in the process, take no harm."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import wandb

from common.errors import RunStoppedError
from common.run.metrics import read_metrics
from common.run.record import read_record
from common.run.wandb import pids_of_service
from tests.end_to_end.conftest import ONE_CPU, REPOSITORY
from tests.end_to_end.ne_tasks_test import PROJECT, SMALL

AS_TYPED = ("datamodule.config.source=digits", "trainer.max_epochs=1")
"""Everything else is as by default: the bar and W&B are on."""

SHORT = (*AS_TYPED, "trainer.max_steps=3", ONE_CPU)


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "time"} for row in read_metrics(folder)]


def points_of(root: Path, task: str) -> list[Path]:
    return sorted(root.glob(f"data/*/{task}/*/[0-9]*_*"))


def pieces_of(folder: Path) -> list[Path]:
    return list(folder.glob("wandb/offline-run-*/run-*.wandb"))


def test_good_point_after_a_failing_one_is_what_it_is_alone(command: Callable[..., Any]) -> None:
    sweep = command("fnn", *AS_TYPED, "litmodule.optimizer.lr=1e30,1e-3", defaults=())
    assert sweep.status == 1, sweep.output
    failed, good = points_of(sweep.root, "fnn")
    assert [read_record(point).status for point in (failed, good)] == ["failed", "finished"]
    alone = command("fnn", *AS_TYPED, "litmodule.optimizer.lr=1e-3", defaults=())
    assert rows_of(good) == rows_of(alone.folder)
    assert [len(pieces_of(folder)) for folder in (failed, good, alone.folder)] == [1, 1, 1]
    assert wandb.run is None


@pytest.mark.slow
def test_pruned_trial_leaves_nothing_to_the_next(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from common.dl import train

    evaluate, calls = train.evaluate, iter(range(10))

    def pruning(*arguments: Any) -> Any:
        if next(calls) == 0:
            raise optuna.TrialPruned
        return evaluate(*arguments)

    monkeypatch.setattr(train, "evaluate", pruning)
    run = command("fnn", *SHORT, "hydra/sweeper=optuna", "config.seed=range(0,9)", "hydra.sweeper.n_trials=2")
    assert run.status == 0, run.output
    assert [len(pieces_of(point)) for point in points_of(run.root, "fnn")] == [1, 1]
    (table,) = run.root.glob("data/*/*/*/sweep.csv")
    assert [row.split(",")[2] for row in table.read_text().splitlines()] == ["status", "pruned", "finished"]


@pytest.mark.slow
def test_evolution_that_fails_leaves_nothing_to_the_next(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from common.ne import evolve

    finish = evolve.finish

    def failing(evolution: Any, records: Any, config: Any) -> float:
        return 1 / 0 if config.seed == 0 else finish(evolution, records, config)

    monkeypatch.setattr(evolve, "finish", failing)
    run = command("cartpole_es", *SMALL, "config.seed=0,1", project=PROJECT, defaults=())
    assert run.status == 1, run.output
    points = points_of(run.root, "cartpole_es")
    assert [read_record(point).status for point in points] == ["failed", "finished"]
    assert [len(pieces_of(point)) for point in points] == [1, 1]
    assert wandb.run is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("evaluate", RunStoppedError("stopped")),
        ("evaluate", KeyboardInterrupt()),
        ("evaluate", SystemExit(1)),
        ("instantiate_trainer", OSError("no")),
    ],
)
def test_run_is_ended_on_every_path(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    def fail(*arguments: Any, **keywords: Any) -> Any:
        raise error

    monkeypatch.setattr(f"common.dl.train.{place}", fail)
    run = command("fnn", *SHORT)
    assert run.status != 0
    assert wandb.run is None
    assert "W&B failed" not in run.output
    assert len(pieces_of(run.folder)) == 1


@pytest.mark.slow
def test_run_that_only_evaluates_is_ended_when_it_fails(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command("fnn", *SHORT, "logger=none")
    start = f"config.ckpt_path={first.folder}/lightning/last.ckpt"
    monkeypatch.setattr("common.dl.train.plot_curves", lambda folder: 1 / 0)
    assert command("fnn", *SHORT, "config.evaluate_only=true", start).status == 1
    assert wandb.run is None


@pytest.mark.slow
def test_run_goes_on_where_wandb_cannot_start(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("common.dl.outputs.wandb.config_of", fail)
    run = command("fnn", *SHORT)
    assert run.status == 0, run.output
    assert "W&B cannot start (OSError: [Errno 28] No space left on device), and gets nothing from this" in run.output
    assert wandb.run is None
    assert pids_of_service(os.getpid()) == []


@pytest.mark.slow
def test_what_wandb_refuses_is_told_as_a_mistake(command: Callable[..., Any]) -> None:
    run = command("fnn", *SHORT, "logger.project='a/b'")
    assert run.status == 2
    assert "Error: W&B refuses what logger.* of the task asks for: " in run.output
    assert "a/b" in run.output


PROGRAM = """
import runpy, sys
from common.run import wandb as wandb_service
wandb_service.TIMEOUT_S = 4.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_service_that_hangs_stops_nothing(tmp_path: Path) -> None:
    train = REPOSITORY / "projects" / "classify_mnist" / "train.py"
    words = [sys.executable, "-c", PROGRAM, str(train), "task=fnn", AS_TYPED[0], "trainer.log_every_n_steps=1"]
    environment = {**os.environ, "AI_RESEARCH_PATH": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(tmp_path.glob("data/*/*/*/lightning/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    (service,) = pids_of_service(process.pid)
    os.kill(service, signal.SIGSTOP)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    (folder,) = tmp_path.glob("data/classify_mnist/fnn/*")
    assert read_record(folder).status == "finished"
    assert printed.count("W&B failed") == 1
    assert "W&B failed (TimeoutError: its service did not answer within 4 s and was ended)" in printed
    assert f"Upload what W&B has with: wandb sync {folder}/wandb/offline-run-" in printed
    assert not Path(f"/proc/{service}/exe").exists()
