"""Weights & Biases: a run goes on offline where no server answers, and its tables grow step by step.

Offline, W&B writes each table that is sent as a JSON file below the run's folder.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.run.metrics import read_metrics
from tests.end_to_end.conftest import DIGITS, REPOSITORY
from tests.processes import Process, start

INTERVAL, NUM_SAMPLES = 40, 4
STEPS_PER_EPOCH = 102
KEY = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture(scope="module")
def run(command: Callable[..., Any]) -> Any:
    """Two epochs that log samples."""
    finished = command(
        "fnn",
        "trainer.max_epochs=2",
        f"litmodule.config.wandb_train_log_interval={INTERVAL}",
        f"litmodule.config.wandb_num_samples={NUM_SAMPLES}",
    )
    assert finished.status == 0, finished.output
    return finished


def tables(run: Any, stage: str) -> list[dict[str, Any]]:
    """Returns the tables of one stage, in the order in which they were sent."""
    paths = run.folder.glob(f"wandb/offline-run-*/files/media/table/{stage}/samples_*.table.json")
    return [json.loads(path.read_text()) for path in sorted(paths, key=lambda path: int(path.name.split("_")[1]))]


def test_no_key_means_offline_said_in_one_line_with_the_upload_command(run: Any) -> None:
    lines = [line for line in run.log.splitlines() if "offline" in line]
    assert len(lines) == 1
    assert "there is no key" in lines[0]
    assert lines[0].endswith(f"wandb sync {run.folder}/wandb/offline-run-*")


def test_training_samples_are_sent_at_every_interval(run: Any) -> None:
    steps = [{row[0] for row in table["data"]} for table in tables(run, "train")]
    assert steps == [{step} for step in range(0, 2 * STEPS_PER_EPOCH, INTERVAL)]


def test_validation_samples_are_sent_in_every_validation(run: Any) -> None:
    steps = [{row[0] for row in table["data"]} for table in tables(run, "val")]
    assert steps == [{STEPS_PER_EPOCH}, {2 * STEPS_PER_EPOCH}, {2 * STEPS_PER_EPOCH}]  # Each epoch's, and the last.


@pytest.mark.parametrize("stage", ["train", "val"])
def test_each_table_holds_only_the_new_samples(run: Any, stage: str) -> None:
    assert [len(table["data"]) for table in tables(run, stage)] == [NUM_SAMPLES] * len(tables(run, stage))


@pytest.mark.parametrize("stage", ["train", "val"])
def test_samples_hold_input_label_prediction_and_logits(run: Any, stage: str) -> None:
    for table in tables(run, stage):
        assert table["columns"] == ["step", "input", "label", "prediction", "logits"]
        for _, _, label, prediction, logits in table["data"]:
            assert label in range(10)
            assert len(logits) == 10
            assert logits[prediction] == max(logits)


def test_run_asks_for_uploads_where_somebody_listens(command: Callable[..., Any], tmp_path: Path) -> None:
    meeting_folder = tmp_path / ".wandb_osh_command_dir"
    meeting_folder.mkdir()
    run = command("fnn", "trainer.max_epochs=1", environment={"HOME": str(tmp_path)})
    assert run.status == 0, run.output
    (request,) = meeting_folder.iterdir()
    (piece,) = run.folder.glob("wandb/offline-run-*")
    assert request.read_text() == str(piece)


@pytest.mark.slow
def test_server_that_does_not_answer_means_offline_said_in_one_line(command: Callable[..., Any]) -> None:
    closed_port = "http://127.0.0.1:9"
    run = command("fnn", "trainer.max_epochs=1", environment={"WANDB_API_KEY": KEY, "WANDB_BASE_URL": closed_port})
    assert run.status == 0, run.output
    lines = [line for line in run.log.splitlines() if "offline" in line]
    assert len(lines) == 1
    assert "did not answer" in lines[0]
    assert list(run.folder.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(run.series("test/accuracy")) == 1
    for path in run.root.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), f"{path} holds the key"


def services_of(process: Process) -> list[int]:
    """Returns the ids of W&B's service processes that a run has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (path / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:  # It has ended meanwhile.
            continue
        if name == "wandb-core" and int(rest.split()[1]) == process.pid:
            found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("is_stopped", [False, True], ids=["alone", "with the run"])
def test_run_outlives_the_service_process_and_still_saves(tmp_path: Path, *, is_stopped: bool) -> None:
    """A scheduler that stops a job sends its signal to all of the job's processes, W&B's among them."""
    command = [sys.executable, str(REPOSITORY / "projects/classify_mnist/train.py"), "task=fnn", DIGITS]
    environment = {**os.environ, "AI_RESEARCH_PATH": str(tmp_path)}
    process = start(command, environment, is_warm=False)
    folders: list[Path] = []
    while not (folders and len(read_metrics(folders[0])) > 1):
        assert process.poll() is None
        folders = list(tmp_path.glob("data/classify_mnist/fnn/[!.]*"))
        time.sleep(0.02)
    victims = services_of(process)
    assert victims
    for victim in [*victims, process.pid] if is_stopped else victims:
        os.kill(victim, signal.SIGTERM)
    printed, _ = process.communicate()
    assert process.returncode == (75 if is_stopped else 0), printed
    record = json.loads((folders[0] / "provenance.json").read_text())
    assert record["status"] == ("stopped" if is_stopped else "finished")
    if is_stopped:
        again = start(command, environment, is_warm=False)
        printed, _ = again.communicate()
        assert again.returncode == 0, printed
        assert [path for path in folders[0].parent.iterdir() if path.name[0] != "."] == folders
