"""What a subtask may ask for: the fields of hydra-submitit-launcher, GPUs of a type among them, and ours."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

from common.errors import ConfigError
from common.launch.resources import (
    LocalResources,
    Resources,
    SlurmLauncherConfig,
    SlurmResources,
    count_ranks_per_node,
    granted,
)
from common.launch.slurm.batch import script_of

OURS = {"timeout_min": 10080, "max_num_timeout": 100, "stderr_to_stdout": True}
"""Defaults that differ."""


def test_fields_names_and_defaults_are_those_of_hydras_own_launcher_but_for_those_listed_here() -> None:
    own = {one.name for one in fields(SlurmLauncherConfig)}
    theirs = SlurmQueueConf()
    for one in fields(SlurmQueueConf):
        if one.name not in ("_target_", "submitit_folder"):
            assert one.name in own
            default = getattr(SlurmLauncherConfig(), one.name)
            assert default == OURS.get(one.name, getattr(theirs, one.name)), one.name
    assert own - {one.name for one in fields(SlurmQueueConf)} == {"python", "detach", "_convert_"}


@pytest.mark.parametrize(
    ("gres", "number"),
    [
        ("gpu:h100:1", 1), ("gpu:2", 2), ("gpu", 1), ("gpu:a100", 1), ("gpu:a100_3g.20gb:2", 2), ("gres/gpu:h100:4", 4),
        ("gpu:a100:1,gpu:h100:2", 3), ("shard:4", None), ("shard:4,gpu:2", 2), ("gpux:2", None), ("", None),
        (None, None),
    ],
)  # fmt: skip
def test_gpus_of_a_type_are_counted_and_have_a_process_each(gres: str | None, number: int | None) -> None:
    resources = SlurmResources(gres=gres)
    assert resources.num_gpus == number
    assert count_ranks_per_node("gpu", resources) == (number or 1)
    assert count_ranks_per_node("cpu", resources) == 1


def test_gpus_of_each_task_are_counted_for_the_node() -> None:
    assert count_ranks_per_node("gpu", SlurmResources(gpus_per_task=1, tasks_per_node=3)) == 3
    with pytest.raises(ConfigError, match="with 6 GPUs on each node: each GPU has one process"):
        count_ranks_per_node("gpu", SlurmResources(gpus_per_task=2, tasks_per_node=3))


@pytest.mark.parametrize("other", [{"gpus_per_node": 2}, {"gpus_per_task": 1}])
def test_gpus_are_asked_for_in_one_way(other: dict[str, int]) -> None:
    (name,) = other
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{name}=\d.* ask for GPUs.* Give one of them"):
        _ = Resources(gres="gpu:h100:1", **other).num_gpus


def test_this_machine_gives_of_any_type_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.launch.resources.count_gpus", lambda: 2)
    less = granted("gpu", LocalResources(gres="gpu:h100:4"))
    assert (less.num_gpus, count_ranks_per_node("gpu", less)) == (2, 2)


def test_a_script_asks_for_every_field(tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        "gres": "gpu:h100:2", "comment": "a b", "exclude": "node7", "mem_per_cpu": "2G", "partition": "p", "qos": "q",
        "constraint": "c", "account": "a",
    }  # fmt: skip
    lines = script_of(tmp_path, 1, SlurmResources(name="my job", **asked)).replace("'", "").splitlines()
    assert {f"#SBATCH --{option.replace('_', '-')}={value}" for option, value in asked.items()} <= {*lines}
    assert {"#SBATCH --job-name=my_job", "#SBATCH --ntasks-per-node=2", "#SBATCH --cpus-per-task=1"} <= {*lines}
    assert not any("gpus-per" in line for line in lines)


def test_cpus_of_each_gpu_stand_for_those_of_each_task(tmp_path: Path) -> None:
    script = script_of(tmp_path, 1, SlurmResources(gpus_per_task=1, cpus_per_gpu=4, mem_per_gpu="8G"))
    assert "--cpus-per-gpu=4" in script
    assert "--gpus-per-task=1" in script
    assert "--mem-per-gpu=8G" in script
    assert "cpus-per-task" not in script


@pytest.mark.parametrize(
    ("launcher", "own"),
    [
        ("submitit_slurm", "Write hydra/launcher=slurm, which takes the same fields."),
        ("submitit_local", "Write hydra/launcher=local."),
    ],
)
def test_launchers_of_other_packages_are_answered_with_ours(run: Any, root: Path, launcher: str, own: str) -> None:
    outcome = run(f"hydra/launcher={launcher}")
    assert (outcome.status, outcome.out) == (2, "")
    alone = "runs are continued by the launchers of this repository alone"
    assert outcome.err.strip() == f"Error: hydra/launcher={launcher}: {alone}. {own}"
    assert list(root.iterdir()) == []


def test_gpus_of_a_type_can_be_asked_for_on_the_command_line(run: Any) -> None:
    assert run("hydra.launcher.gres=gpu:h100:1", "config.preflight_only=true").status == 0
    outcome = run("hydra.launcher.grse=gpu:h100:1")
    assert (outcome.status, "Did you mean hydra.launcher.gres?" in outcome.err) == (2, True)
