"""What the trainer's keys say of processes and devices is what the launcher does, or is refused before it starts."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from common.dl.checks import check_devices, num_devices

FNN = ("task=fnn", "datamodule.config.source=digits", "logger=none")
ACCEPTED = {(1, 1, "auto", 1), (1, 1, "ddp", 1), (2, 1, "auto", 2), (2, 1, "ddp", 2)}
COMBINATIONS = list(itertools.product((1, 2), (1, 2), ("auto", "ddp", "nonsense"), (1, 2)))
DDP = "pytorch_lightning.strategies.DDPStrategy"


@pytest.fixture
def problems(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that judges a trainer's keys, given the launcher's settled numbers."""

    def judge(trainer: dict[str, Any], *, device: str = "cpu", nodes: int = 1, ranks: int = 1) -> dict[str, str]:
        launcher = OmegaConf.create({"hydra": {"launcher": {"nodes": nodes, "tasks_per_node": ranks}}})
        monkeypatch.setattr(HydraConfig.instance(), "cfg", launcher)
        config = {"config": {"device": device}, "trainer": trainer}
        return {problem.key: problem.text for problem in check_devices(config, set())}

    return judge


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize(("devices", "nodes", "strategy", "tasks"), COMBINATIONS)
def test_combination_is_right_or_refused(
    cli, root: Path, devices: int, nodes: int, strategy: str, tasks: int, only: bool
) -> None:
    """Those that go through are run, killed and continued by `benchmarks/ranks.py`, and one of them below."""
    is_accepted = (devices, nodes, strategy, tasks) in ACCEPTED
    if is_accepted and not only:
        return
    keys = (f"trainer.devices={devices}", f"trainer.num_nodes={nodes}", f"trainer.strategy={strategy}")
    more = ("config.preflight_only=true",) if only else ()
    outcome = cli(*FNN, *keys, f"hydra.launcher.tasks_per_node={tasks}", *more)
    assert outcome.status == (0 if is_accepted else 2)
    assert ("nothing wrong" in outcome.out) == is_accepted
    assert list(root.rglob("*")) == []
    wrong = {"devices": devices != tasks, "num_nodes": nodes == 2, "strategy": strategy == "nonsense"}
    for name, is_wrong in wrong.items():
        assert (f"trainer.{name}=" in outcome.err) == is_wrong
    assert is_accepted or "hydra.launcher" in outcome.err


def test_each_point_of_a_sweep_is_judged(cli, root: Path) -> None:
    outcome = cli(*FNN, "trainer.devices=1,2", "trainer.max_epochs=1")
    assert outcome.status == 2
    assert (
        "trainer.devices=2 is not what hydra.launcher.tasks_per_node says, which makes 1 process on each node. Leave "
        "trainer.devices out, and write hydra.launcher.tasks_per_node=2. (Set on the command line.)\n"
        "  at the point trainer.devices=2"
    ) in outcome.err
    assert "trainer.devices=1\n" not in outcome.err
    assert list(root.rglob("*")) == []


def test_two_numbers_of_processes_are_found_by_the_preflight(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.launch.resources.count_gpus", lambda: 2)
    gpus = ("config.device=gpu", "hydra.launcher.gpus_per_node=2", "config.preflight_only=true")
    outcome = cli(*FNN, *gpus, "hydra.launcher.tasks_per_node=3")
    assert outcome.status == 2
    assert "each GPU has one process" in outcome.err
    assert cli(*FNN, *gpus).status == 0
    assert cli(*FNN, *gpus, "trainer.devices=2").status == 0
    refused = cli(*FNN, *gpus, "trainer.devices=1")
    assert "trainer.devices=1 is not what hydra.launcher.gpus_per_node says, which makes 2 processes" in refused.err
    outcome = cli(*FNN, "config.device=gpu", "hydra.launcher.tasks_per_node=3", "config.preflight_only=true")
    assert "each process has a GPU, and this machine has 2" in outcome.err


@pytest.mark.parametrize(
    ("devices", "on_cpu", "on_gpu"),
    [
        (1, 1, 1),
        (2, 2, 2),
        ("2", 2, 2),
        ("auto", 1, None),
        (-1, None, None),
        ("-1", None, None),
        (0, None, None),
        ("0", None, None),
        ([0, 1], None, 2),
        ("0,1", None, 2),
        ("0,", None, 1),
        ([1], None, None),
        ("1,0", None, None),
        ([], None, 0),
        ("", None, None),
        (True, None, None),
        ("two", None, None),
        (None, None, None),
    ],
)
def test_number_of_devices_in_every_form(devices: Any, on_cpu: int | None, on_gpu: int | None) -> None:
    assert (num_devices(devices, "cpu"), num_devices(devices, "gpu")) == (on_cpu, on_gpu)


@pytest.mark.parametrize(
    "strategy",
    [
        *(
            "ddp_spawn",
            "ddp_fork",
            "ddp_notebook",
            "fsdp",
            "deepspeed",
            "deepspeed_stage_2",
            "single_device",
            "dp",
            None,
        ),
        {"_target_": "pytorch_lightning.strategies.FSDPStrategy"},
        {"_target_": "pytorch_lightning.strategies.SingleDeviceStrategy"},
        {"_target_": DDP, "start_method": "spawn"},
        {"_target_": DDP, "process_group_backend": "mpi"},
        {"_target_": DDP, "model_averaging_period": 2},
        {"_target_": DDP, "cluster_environment": {"_target_": "x"}},
    ],
)
def test_strategy_that_starts_processes_or_cannot_be_continued_is_refused(problems, strategy: Any) -> None:
    found = problems({"strategy": strategy})
    assert found.keys() == {"trainer.strategy"}
    assert "is not allowed" in found["trainer.strategy"]
    assert "hydra.launcher (tasks_per_node, gpus_per_node, nodes)" in found["trainer.strategy"]


@pytest.mark.parametrize(
    "strategy",
    [
        *("auto", "ddp", "ddp_find_unused_parameters_true"),
        {"_target_": DDP, "find_unused_parameters": True},
        {"_target_": DDP, "start_method": "popen", "gradient_as_bucket_view": True},
    ],
)
def test_strategy_that_shares_the_work_among_the_launchers_ranks_is_allowed(problems, strategy: Any) -> None:
    assert problems({"strategy": strategy}, ranks=2) == {}


@pytest.mark.parametrize(
    ("trainer", "device", "ranks", "wrong"),
    [
        ({"accelerator": "cpu"}, "cpu", 1, None),
        ({"accelerator": "cuda", "devices": 1}, "gpu", 1, None),
        ({"accelerator": "gpu"}, "cpu", 1, "accelerator"),
        ({"accelerator": "auto"}, "cpu", 1, "accelerator"),
        ({"accelerator": "cpu"}, "gpu", 1, "accelerator"),
        ({"accelerator": {"_target_": "x"}}, "cpu", 1, "accelerator"),
        ({"use_distributed_sampler": True}, "cpu", 2, "use_distributed_sampler"),
        ({"use_distributed_sampler": False}, "cpu", 2, None),
        ({"sync_batchnorm": True}, "cpu", 2, "sync_batchnorm"),
        ({"sync_batchnorm": True}, "gpu", 1, "sync_batchnorm"),
        ({"sync_batchnorm": True}, "gpu", 2, None),
        ({"plugins": {"_target_": "pytorch_lightning.plugins.MixedPrecision"}}, "cpu", 1, None),
        ({"plugins": [{"_target_": "pytorch_lightning.plugins.environments.SLURMEnvironment"}]}, "cpu", 1, "plugins"),
        (
            {"plugins": {"_target_": "pytorch_lightning.plugins.environments.MPIEnvironment"}},
            "cpu",
            1,
            "plugins",
        ),
        ({"plugins": {"_target_": "pytorch_lightning.plugins.io.TorchCheckpointIO"}}, "cpu", 1, "plugins"),
        ({"plugins": "slurm"}, "cpu", 1, "plugins"),
        ({"num_nodes": 2}, "cpu", 1, "num_nodes"),
    ],
)
def test_rest_of_the_kind(problems, trainer: dict[str, Any], device: str, ranks: int, wrong: str | None) -> None:
    found = problems(trainer, device=device, ranks=ranks)
    assert found.keys() == ({f"trainer.{wrong}"} if wrong else set())
    assert all("hydra.launcher" in text or "config.device" in text for text in found.values())


def test_nodes_of_a_cluster_are_the_trainers(problems) -> None:
    assert problems({"num_nodes": 2, "devices": 4}, device="gpu", nodes=2, ranks=4) == {}
    assert problems({"num_nodes": 1}, nodes=2).keys() == {"trainer.num_nodes"}
