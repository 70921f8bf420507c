"""Points that run side by side have a GPU each; the number of GPUs is made up, since none need be there."""

from collections.abc import Callable
from typing import Any

import pytest

from common.launch import local, resources
from common.launch.local import share_out, visible_gpus


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (local, resources):
        monkeypatch.setattr(module, "count_gpus", lambda: 4)
    monkeypatch.setattr(local, "available_cpus", lambda: 16)
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, str]]:
    """Returns a function that types a command and returns what each process would see of the GPUs, and what is said."""
    seen: list[Any] = []

    def run_sweep(command: Any, composer: Any, run_points: Any) -> list[Any]:
        seen.append(run_points.keywords.get("places"))
        return []

    monkeypatch.setattr(local, "run_sweep", run_sweep)

    def find(*arguments: str) -> tuple[Any, str]:
        outcome = run("number=1,2,4,8,16,32", "config.device=gpu", *arguments)
        assert outcome.status == 0, outcome.err
        return seen[-1], outcome.out

    return find


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("hydra.launcher.max_parallel=4",), ["0", "1", "2", "3"]),
        (("hydra.launcher.max_parallel=2",), ["0,1", "2,3"]),
        (("hydra.launcher.max_parallel=2", "hydra.launcher.gpus_per_node=2"), ["0,1", "2,3"]),
        (("hydra.launcher.gpus_per_node=4",), [None]),
    ],
)
def test_points_side_by_side_have_gpus_of_their_own(places, asked: tuple[str, ...], expected: list[str | None]) -> None:
    assert places(*asked)[0] == expected


@pytest.mark.usefixtures("four_gpus")
def test_no_more_points_run_than_there_are_gpus(places) -> None:
    found, said = places("hydra.launcher.max_parallel=4", "hydra.launcher.tasks_per_node=2")
    assert found == ["0,1", "2,3"]
    assert "hydra.launcher.max_parallel=4 is more than this machine grants: 2 used." in said
    assert places("hydra.launcher.max_parallel=8")[0] == ["0", "1", "2", "3"]


@pytest.mark.usefixtures("four_gpus")
def test_what_the_shell_lets_a_command_see_is_shared_out(monkeypatch: pytest.MonkeyPatch, places) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,5,GPU-8f2a,1")
    assert places("hydra.launcher.max_parallel=4")[0] == ["7", "5", "GPU-8f2a", "1"]
    monkeypatch.setattr("torch.version.hip", "6.0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "3,2,1,0")
    assert visible_gpus() == ["3", "2", "1", "0"]
    assert local._gpu_variable() == "HIP_VISIBLE_DEVICES"


def test_what_is_left_over_is_nobodys() -> None:
    assert share_out(["0", "1", "2"], 2) == ["0", "1"]
