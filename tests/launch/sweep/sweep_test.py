"""Sweeps on this machine: what survives, what is reported, processes of their own, and the code that runs."""

import csv
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf
from PIL import Image

from common.launch.composing import CachingConfigLoader
from common.run.atomic import remove
from common.run.metrics import read_metrics
from common.run.record import Status, read_record, write_record
from tests import processes
from tests.processes import Process

REPOSITORY = Path(__file__).resolve().parents[3]
SKIP = "config.skip_finished=true"
TWENTY = "number=" + ",".join(map(str, range(1, 21)))


def points_of(sweep: Path) -> list[Path]:
    return sorted(path for path in sweep.glob("[!.]*") if path.is_dir())


def set_status(folder: Path, status: Status) -> None:
    write_record(folder, replace(read_record(folder), status=status))


def table_of(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_of_twenty_points_the_five_that_were_killed_run_again(run, outputs, seen: list[float]) -> None:
    assert run(TWENTY).status == 0
    (sweep,) = outputs()
    killed = [points_of(sweep)[index] for index in (2, 3, 9, 15, 19)]
    for folder in (sweep, *killed):
        set_status(folder, "running")  # What SIGKILL leaves.
    seen.clear()
    outcome = run(TWENTY, SKIP)
    assert outcome.status == 0
    assert seen == [3, 4, 10, 16, 20]
    assert outputs() == [sweep]
    assert outcome.out.count("finished earlier, skipped") == 15
    assert [float(row["result"]) for row in table_of(sweep)] == [1 / number for number in range(1, 21)]
    assert {row["status"] for row in table_of(sweep)} == {"finished"}


def test_without_skipping_it_is_said_how_many_points_are_finished(run, outputs, seen: list[float]) -> None:
    assert run("number=1,0,4").status == 1
    seen.clear()
    outcome = run("number=1,0,4")
    assert "2 of 3 points are finished" in outcome.out
    assert f"{SKIP} leaves them as they are" in outcome.out
    assert seen == [1, 0, 4]
    assert len(outputs()) == 1


def test_finished_sweep_is_taken_from_its_folder(run, outputs, seen: list[float]) -> None:
    assert run("number=1,4").status == 0
    seen.clear()
    outcome = run("number=1,4", SKIP)
    assert outcome.status == 0
    assert seen == []
    assert len(outputs()) == 1
    assert "1      4       finished  0.25    1_number=4" in outcome.out


def test_finished_points_are_taken_though_the_code_has_changed(run, outputs, seen: list[float]) -> None:
    """The fix of what made a point fail is a change of the code."""
    assert run("number=1,0,4").status == 1
    (sweep,) = outputs()
    for folder in (sweep, *points_of(sweep)):
        write_record(folder, replace(read_record(folder), code={"common/was_different.py": ""}))
    seen.clear()
    assert run("number=1,0,4", SKIP).status == 1
    assert seen == [0]
    assert outputs() == [sweep]


def test_point_that_was_run_again_and_stopped_is_not_lost(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in a folder with a number appended, and that is the one to continue."""
    assert run("number=1,0").status == 1
    assert run("number=1,0").status == 1
    (sweep,) = outputs()
    assert [path.name for path in points_of(sweep)] == ["0_number=1", "0_number=1_1", "1_number=0"]
    set_status(sweep / "0_number=1_1", "stopped")
    outcome = run("number=1,0")
    assert [path.name for path in points_of(sweep)] == ["0_number=1", "0_number=1_1", "1_number=0"]
    assert "continuing the stopped run 0_number=1_1" in outcome.err
    assert [row["folder"] for row in table_of(sweep)] == ["0_number=1_1", "1_number=0"]


@pytest.mark.parametrize("name", ["sweep.csv", "optuna.log", ".code", ".slurm"])
def test_a_sweep_writes_through_no_link(run, outputs, tmp_path: Path, name: str) -> None:
    assert run("number=1,0").status == 1
    (sweep,) = outputs()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(sweep / ".code", elsewhere) if name[0] == "." else elsewhere.write_text("mine")
    remove(sweep / name)
    (sweep / name).symlink_to(elsewhere)
    before = {path: path.lstat().st_mtime_ns for path in [elsewhere, *elsewhere.rglob("*")]}
    outcome = run("number=1,0")
    assert (outcome.status, "Error: " + str(sweep / name) + " is a symbolic link" in outcome.err) == (2, True)
    assert {path: path.lstat().st_mtime_ns for path in [elsewhere, *elsewhere.rglob("*")]} == before
    (sweep / name).unlink()
    assert run("number=1,0").status == 1
    assert outputs() == [sweep]


def test_what_a_points_process_prints_goes_through_no_link(run, outputs, tmp_path: Path) -> None:
    """It is refused before the process begins, and the other points go on."""
    assert run("number=1,0").status == 1
    point = points_of(*outputs())[1]
    (tmp_path / "elsewhere").write_text("mine")
    (point / "console.log").symlink_to(tmp_path / "elsewhere")
    outcome = run("number=1,0", SKIP, "hydra.launcher.max_parallel=2")
    assert outcome.status == 1
    assert f"{point / 'console.log'} is a symbolic link, where a file belongs" in outcome.err
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_table_replaces_a_link_that_was_made_meanwhile(run, outputs, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").write_text("mine")

    def run_subtask(config: Any, number: float, free: Any) -> float:
        link = outputs()[0] / "sweep.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / "elsewhere")
        return number

    monkeypatch.setattr("tests.launch.tiny.TinyRunner.run_subtask", staticmethod(run_subtask))
    assert run("number=3,4").status == 0
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert [row["result"] for row in table_of(outputs()[0])] == ["3", "4"]


def test_table_names_each_point_with_its_values_status_result_and_folder(run, outputs) -> None:
    outcome = run("number=1,0", "config.seed=0,1")
    (sweep,) = outputs()
    rows = table_of(sweep)
    assert list(rows[0]) == ["point", "number", "config.seed", "status", "result", "folder"]
    assert [(row["number"], row["config.seed"], row["status"], row["result"]) for row in rows] == [
        ("1", "0", "finished", "1.0"),
        ("1", "1", "finished", "1.0"),
        ("0", "0", "failed", ""),
        ("0", "1", "failed", ""),
    ]
    printed = [line.split() for line in outcome.out.splitlines()]
    assert all([value for value in row.values() if value] in printed for row in rows)


def test_failed_point_is_named_with_its_error_and_its_log(run, outputs) -> None:
    outcome = run("number=1,0,4")
    (sweep,) = outputs()
    assert "1: number=0: ZeroDivisionError: " in outcome.err
    log = sweep / "1_number=0" / "tiny.log"
    assert str(log) in outcome.err
    assert log.is_file()


def test_results_are_drawn_over_each_swept_key(run, outputs) -> None:
    assert run("number=0.001,0.01,0.1,1", "config.seed=0,1").status == 0
    pixels = np.asarray(Image.open(outputs()[0] / "sweep.png").convert("RGB"))
    assert pixels.shape[1] > 1.5 * pixels.shape[0]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50


def test_signal_that_no_run_noticed_starts_no_further_point(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def signal_at_one(path: Path, text: str) -> int:
        if text == "1.0":
            os.kill(os.getpid(), signal.SIGTERM)
        return len(text)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", signal_at_one)
        outcome = run("number=1,4")
    assert outcome.status == 75
    assert "Stopped by SIGTERM between two points. The same command continues." in outcome.err
    (sweep,) = outputs()
    assert [row["status"] for row in table_of(sweep)] == ["finished", "not started"]


def test_stopped_sweep_says_what_was_not_started(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.errors import RunStoppedError

    def stop_at_four(path: Path, text: str) -> int:
        if text == "0.25":
            raise RunStoppedError("stopped")
        return len(text)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", stop_at_four)
        assert run("number=1,4,5").status == 75
    (sweep,) = outputs()
    assert [row["status"] for row in table_of(sweep)] == ["finished", "stopped", "not started"]
    assert read_record(sweep).status == "stopped"
    assert run("number=1,4,5", SKIP).status == 0
    assert [row["status"] for row in table_of(sweep)] == ["finished"] * 3


def test_more_than_the_machine_has_is_capped_in_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.launch.local.available_cpus", lambda: 1)
    outcome = run("number=1,4", "hydra.launcher.max_parallel=8", "hydra.launcher.cpus_per_task=2")
    assert outcome.status == 0
    assert "hydra.launcher.max_parallel=8 is more than this machine grants: 1 used." in outcome.out
    assert "hydra.launcher.cpus_per_task=2 is more than this machine grants: 1 used." in outcome.out


def test_varied_configuration_is_what_hydra_composes(run, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def plain(config: Any) -> Any:
        return OmegaConf.to_container(config)  # Unresolved: the time of day is another by now.

    def load(self: CachingConfigLoader, **asked: Any) -> Any:
        config = varied(self, **asked)
        compared.append(plain(config) == plain(ConfigLoaderImpl.load_configuration(self, **asked)))
        return config

    varied = CachingConfigLoader.load_configuration
    monkeypatch.setattr(CachingConfigLoader, "load_configuration", load)
    assert (
        run("number=1,4", "+free.a={b:1},[2]", "config.data_dir='a,b',c", "hydra.launcher.cpus_per_task=1").status == 0
    )
    assert len(compared) > 8
    assert all(compared)


def test_a_command_composes_each_choice_of_groups_once(run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Preflight, Hydra and all points share it, and so do the defaults that values are compared with."""
    composed = []

    def load(self: ConfigLoaderImpl, config_name: str | None, overrides: list[str], run_mode: Any) -> Any:
        composed.append(overrides)
        return plain(self, config_name, overrides, run_mode)

    plain = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    assert run("number=1,4,5", "hydra.launcher.cpus_per_task=1").status == 0
    assert composed == [["task=tiny"]]


# ------------------------------------------------------------------------------------------- processes of their own

FNN = (
    "task=fnn",
    "logger=none",
    "datamodule.config.source=digits",
    "hydra.launcher.cpus_per_task=1",
)


def start(root: Path, *arguments: str, repository: Path = REPOSITORY, program: str = "classify_mnist") -> Process:
    environment = os.environ | {"AI_RESEARCH_PATH": str(root), "PYTHONPATH": str(repository)}
    words = [sys.executable, str(repository / "projects" / program / "train.py"), *arguments]
    return processes.start(words, environment, is_warm=repository == REPOSITORY)


def sweep_below(root: Path) -> Path:
    (sweep,) = root.glob("data/*/*/[!.]*")
    return sweep


def wait_for(what: Callable[[], Any], process: Any) -> Any:
    while process.poll() is None:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


def pid_of(folder: Path) -> int | None:
    """Returns the process that a point was begun by, once its training has."""
    try:
        is_training = len(read_metrics(folder)) > 3
    except (OSError, ValueError):
        return None
    return read_record(folder).launches[-1].pid if is_training else None


@pytest.mark.slow
def test_points_side_by_side_give_the_same_numbers_and_survive_a_kill(root: Path, tmp_path: Path, cli) -> None:
    """One of two is killed: the other finishes, and the same command runs that one alone."""
    sweep_arguments = (*FNN, "trainer.max_epochs=3", "trainer.log_every_n_steps=1", "config.seed=0,1")
    parallel = (*sweep_arguments, "hydra.launcher.max_parallel=2")
    process = start(root, *parallel)
    victim = wait_for(lambda: next(iter(root.glob("data/*/*/[!.]*/1_*")), None), process)
    os.kill(wait_for(lambda: pid_of(victim), process), signal.SIGKILL)
    printed = process.communicate()[0]
    assert process.returncode == 1, printed
    assert "1 of 2 points failed" in printed
    assert "config.seed=1: running\n" in printed
    assert "config.seed=0: finished  test/loss 0." in printed
    assert "1: config.seed=1: its process ended with status -9" in printed
    sweep = sweep_below(root)
    assert [row["status"] for row in table_of(sweep)] == ["finished", "failed"]
    process = start(root, *parallel, SKIP)
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert printed.count("finished earlier, skipped") == 1
    assert "continuing the interrupted run" in printed
    os.environ["AI_RESEARCH_PATH"] = str(tmp_path / "in_turn")
    assert cli(*sweep_arguments).status == 0
    for folder in points_of(sweep):
        other = sweep_below(tmp_path / "in_turn") / folder.name
        rows, other_rows = ([row | {"time": 0} for row in read_metrics(where)] for where in (folder, other))
        assert rows == other_rows
        assert read_record(folder).result == read_record(other).result
        assert "Network: 7,850 parameters." in (folder / "console.log").read_text()
        assert f"{sweep}/.code/projects/classify_mnist/train.py" in str(read_record(folder).command)


@pytest.mark.slow
def test_one_interrupt_stops_all_points_saved(root: Path) -> None:
    arguments = (*FNN, "trainer.max_epochs=1000", "config.seed=0,1,2", "hydra.launcher.max_parallel=2")
    process = start(root, *arguments, "trainer.log_every_n_steps=1")
    for name in ("0_config.seed=0", "1_config.seed=1"):
        wait_for(lambda name=name: any(map(pid_of, root.glob(f"data/*/*/[!.]*/{name}"))), process)
    process.send_signal(signal.SIGINT)
    printed = process.communicate()[0]
    assert process.returncode == 75, printed
    sweep = sweep_below(root)
    assert [row["status"] for row in table_of(sweep)] == ["stopped", "stopped", "not started"]
    assert "SIGINT: saving at the next step, then leaving (Ctrl-C again leaves at once, unsaved)." in printed
    assert [f"config.seed={seed}: stopped" in printed for seed in range(3)] == [True, True, False]
    assert all((folder / "lightning" / "last.ckpt").is_file() for folder in points_of(sweep))


# --------------------------------------------------------------------------------------------- the code that runs

PROJECT = """
from pathlib import Path

from projects import scratch
from tiny import TinyRunner

HERE = Path(__file__).parent
LIVE = Path(r"{live}")


class Runner(TinyRunner):
    @staticmethod
    def run_subtask(config, number, free):
        if number == 1:
            (LIVE / "task" / "tiny.yaml").write_text("# @package _global_\\nfree: {{state: edited}}\\n")
            (LIVE / "lazy.py").write_text("STATE = 'edited'\\n")
            return 0.0
        from projects.scratch.lazy import STATE

        (Path(config.output_dir) / "state.txt").write_text(f"{{STATE}} {{free['state']}}")
        return 0.0


if __name__ == "__main__":
    Runner.run_task()
"""


@pytest.mark.slow
def test_edit_in_mid_sweep_reaches_no_point(root: Path, tmp_path: Path) -> None:
    """Also where there is no git, as in an image or an unpacked archive."""
    repository = tmp_path / "repository"
    project = repository / "projects" / "scratch"
    for name in ("common", "hydra_plugins"):
        shutil.copytree(REPOSITORY / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "task").mkdir(parents=True)
    shutil.copy(REPOSITORY / "projects" / "__init__.py", repository / "projects")
    shutil.copy(REPOSITORY / "tests" / "launch" / "tiny.py", project)
    (project / "__init__.py").touch()
    (project / "lazy.py").write_text("STATE = 'as submitted'\n")
    (project / "task" / "tiny.yaml").write_text("# @package _global_\nfree: {state: as composed}\n")
    (project / "train.py").write_text(PROJECT.format(live=project))
    process = start(root, "task=tiny", "number=1,2", repository=repository, program="scratch")
    printed = process.communicate()[0]
    assert process.returncode == 0, printed
    assert (project / "lazy.py").read_text() == "STATE = 'edited'\n"
    last = points_of(sweep_below(root))[-1]
    assert (last / "state.txt").read_text() == "as submitted as composed"
    assert len(json.loads((last / "provenance.json").read_text())["snapshot"]) == 64
