"""The local launcher: where outputs go, sweeps, failing runs, and settings that are settled before the start."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from common.errors import ConfigError
from common.launch.resources import Resources, count_ranks_per_node
from common.launch.sweep.search import expand_grid, swept_keys
from common.run.files import read_bytes


def status_of(folder: Path) -> tuple[str, str | None]:
    record = json.loads((folder / "provenance.json").read_text())
    return record["status"], record["error"]


def status_of_sweep(folder: Path) -> str:
    status: str = json.loads((folder / "provenance.json").read_text())["status"]
    return status


def points_of(sweep: Path) -> list[Path]:
    return sorted(path for path in sweep.glob("[!.]*") if path.is_dir())


def test_a_single_run_lies_directly_in_its_folder(run, outputs) -> None:
    assert run().status == 0
    (folder,) = outputs()
    assert {path.name for path in folder.iterdir()} == {".hydra", ".lock", "provenance.json", "result.txt", "tiny.log"}
    assert (folder / "result.txt").read_text() == "0.5"
    assert status_of(folder) == ("finished", None)


def test_multirun_with_one_point_changes_nothing(run, outputs) -> None:
    assert run().status == run("-m").status == 0
    first, second = outputs()
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}


def test_two_launches_in_one_second_never_share_a_folder(run, outputs) -> None:
    for _ in range(4):
        assert run().status == 0
    assert len(outputs()) == 4


@pytest.mark.parametrize("flags", [(), ("-m",), ("--multirun",)])
def test_a_comma_sweeps_with_and_without_multirun(run, outputs, seen: list[float], flags: tuple[str, ...]) -> None:
    outcome = run("number=1,4", *flags)
    assert outcome.status == 0
    (folder,) = outputs()
    assert [path.name for path in points_of(folder)] == ["0_number=1", "1_number=4"]
    assert (folder / "1_number=4" / "result.txt").read_text() == "0.25"
    assert seen == [1, 4]


def test_a_flag_may_stand_before_the_last_override(run, seen: list[float]) -> None:
    assert run("-m", "number=1,4").status == 0
    assert seen == [1, 4]


def test_a_sweep_names_only_what_is_swept(run, outputs) -> None:
    assert run("config.seed=5", "number=1,4").status == 0
    (folder,) = outputs()
    assert [path.name for path in points_of(folder)] == ["0_number=1", "1_number=4"]
    config = yaml.safe_load((folder / "1_number=4" / ".hydra" / "config.yaml").read_text())
    assert (config["config"]["seed"], config["number"]) == (5, 4)


def test_a_failing_point_exits_1_and_the_others_finish(run, outputs, seen: list[float]) -> None:
    outcome = run("number=1,0,4")
    assert outcome.status == 1
    assert "1 of 3 points failed" in outcome.err
    assert "1: number=0: ZeroDivisionError: " in outcome.err
    (folder,) = outputs()
    assert seen == [1, 0, 4]
    assert [status_of(point)[0] for point in points_of(folder)] == ["finished", "failed", "finished"]
    assert status_of_sweep(folder) == "failed"


def test_a_failing_run_exits_1_with_its_traceback_in_the_log_alone(run, outputs) -> None:
    outcome = run("number=0")
    assert outcome.status == 1
    assert "ZeroDivisionError" in outcome.err
    assert "Traceback" not in outcome.err
    (folder,) = outputs()
    text = (folder / "tiny.log").read_text()
    assert "Traceback (most recent call last)" in text
    assert "1 / number" in text
    assert status_of(folder) == ("failed", "ZeroDivisionError: float division by zero") or status_of(folder) == (
        "failed",
        "ZeroDivisionError: division by zero",
    )


def test_a_failing_run_shows_its_traceback_when_asked(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = run("number=0")
    assert outcome.status == 1
    assert "Traceback (most recent call last)" in outcome.err


def test_an_interrupted_run_exits_130_and_says_stopped(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, text: str) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupt)
    assert run().status == 130
    (folder,) = outputs()
    assert status_of(folder)[0] == "stopped"


def test_relative_paths_start_where_the_command_was_typed(
    run, outputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.ckpt").write_text("")
    assert run("config.data_dir=my/data", "config.ckpt_path=x.ckpt").status == 0
    (folder,) = outputs()
    config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["config"]
    assert config["data_dir"] == str(tmp_path / "my" / "data")
    assert config["ckpt_path"] == str(tmp_path / "x.ckpt")
    assert config["output_dir"] == str(folder)


def test_a_path_that_does_not_exist_starts_nothing(run, outputs) -> None:
    outcome = run("config.ckpt_path=x.ckpt,y.ckpt")
    assert outcome.status == 2
    assert "there is no such file" in outcome.err
    assert outputs() == []


def test_torch_gets_as_many_threads_as_the_subtask_has_cpus(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.launch.local.available_cpus", lambda: 3)
    assert run("hydra.launcher.cpus_per_task=1").status == 0
    assert torch.get_num_threads() == 1
    outcome = run("hydra.launcher.cpus_per_task=8")
    assert torch.get_num_threads() == 3
    assert "hydra.launcher.cpus_per_task=8 is more than this machine grants: 3 used." in outcome.out


def test_this_machine_is_the_only_node(run, outputs) -> None:
    outcome = run("hydra.launcher.nodes=2")
    assert outcome.status == 0
    assert "hydra.launcher.nodes=2 is more than this machine grants: 1 used." in outcome.out
    settings = yaml.safe_load((outputs()[0] / ".hydra" / "hydra.yaml").read_text())["hydra"]["launcher"]
    assert (settings["nodes"], settings["tasks_per_node"]) == (1, 1)


def test_each_gpu_has_a_process() -> None:
    assert count_ranks_per_node("gpu", Resources(gpus_per_node=2)) == 2
    assert count_ranks_per_node("gpu", Resources(gpus_per_node=2, tasks_per_node=2)) == 2
    assert count_ranks_per_node("cpu", Resources(gpus_per_node=2)) == 1
    assert count_ranks_per_node("gpu", Resources(tasks_per_node=3)) == 3
    with pytest.raises(ConfigError, match="each GPU has one process"):
        count_ranks_per_node("gpu", Resources(gpus_per_node=2, tasks_per_node=3))


def test_unset_the_root_is_the_repository(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AI_RESEARCH_PATH")
    monkeypatch.setattr("common.run.folder.repository_path", lambda: tmp_path / "repository")
    assert run().status == 0
    assert list((tmp_path / "repository" / "data" / "scratch_project" / "tiny").glob("*/result.txt"))
    monkeypatch.delenv("AI_RESEARCH_PATH")


def test_showing_a_configuration_starts_nothing(run, root: Path) -> None:
    outcome = run("--cfg", "job")
    assert outcome.status == 0
    assert "number: 2" in outcome.out
    assert list(root.rglob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "points"),
    [
        (["a=1"], [["a=1"]]),
        (["a=1,2"], [["a=1"], ["a=2"]]),
        (["a=1,2", "b=x", "c=range(0,2)"], [[a, "b=x", c] for a in ("a=1", "a=2") for c in ("c=0", "c=1")]),
        (["a=[1,2]"], [["a=[1,2]"]]),
        (["a='x,y'"], [["a='x,y'"]]),
        (["~a"], [["~a"]]),
        ([], [[]]),
    ],
)  # fmt: skip
def test_a_grid_has_one_point_per_combination(arguments: list[str], points: list[list[str]]) -> None:
    assert list(expand_grid(arguments)) == points


@pytest.mark.parametrize("argument", ["a=interval(0,1)", "a=tag(interval(0,1))"])
def test_a_grid_refuses_intervals(argument: str) -> None:
    with pytest.raises(ConfigError, match="cannot sweep over"):
        expand_grid([argument])


def test_swept_keys_are_those_with_more_than_one_value() -> None:
    assert swept_keys(["a=1", "b=1,2", "+c=choice(1,2)"]) == ["b", "+c"]


def test_a_run_that_is_continued_has_its_record_read_once(run, outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(folder: Path, name: str) -> bytes:
        read.extend([folder] if name == "provenance.json" else [])
        return read_bytes(folder, name)

    assert run("number=0").status == 1
    monkeypatch.setattr("common.run.record.read_bytes", counted)
    assert run("number=0").status == 1
    assert read == outputs()
    assert len(read) == 1
