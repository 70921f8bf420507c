"""Neuroevolution: kill it anywhere, on any number of ranks; the same command continues to the same result."""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.ne.evolution import Evolution
from tests.end_to_end.continue_test import Crash, chaos_module, without_time
from tests.ne.conftest import same

PROJECT = "ne_control_score"
SHORT = (
    "config.num_generations=5",
    "config.target_fitness=null",
    "config.num_validation_episodes=30",
    "config.num_test_episodes=30",
    "population.config.size=11",
    "population.config.observations=standardized",
    "logger=none",  # The matrix continues with W&B.
)


@pytest.fixture
def launch(command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Runs the same command in the same root."""
    (tmp_path / "place").mkdir()
    return lambda *overrides: command(
        "cartpole_dynamic", *SHORT, *overrides, project=PROJECT, defaults=(), root=tmp_path / "place"
    )


@pytest.fixture(scope="module")
def peaceful(command: Callable[..., Any]) -> Any:
    """The run that is left in peace."""
    return command("cartpole_dynamic", *SHORT, project=PROJECT, defaults=())


@pytest.fixture
def in_generation(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Returns a function that lets something happen while a generation is evaluated, in this process, once."""

    def plan(number: int, happen: Callable[[], None]) -> None:
        inner, pending = Evolution._evaluate, [happen]

        def evaluate(self: Evolution) -> Any:
            episodes = inner(self)
            if self.generation == number and pending:
                pending.pop()()
            return episodes

        monkeypatch.setattr(Evolution, "_evaluate", evaluate)

    return plan


def champion_of(run: Any) -> dict[str, Any]:
    champion: dict[str, Any] = torch.load(run.folder / "champion.pt", weights_only=True)
    return champion


def assert_same(run: Any, other: Any) -> None:
    assert run.status == 0, run.output
    assert without_time(run) == without_time(other)
    assert same(champion_of(run), champion_of(other))
    assert run.provenance["status"] == "finished"


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def crash() -> None:
    raise Crash


def fail() -> None:
    raise ValueError("a mistake in somebody's code")


@pytest.mark.slow
def test_a_signal_stops_the_run_and_the_same_command_continues(launch, in_generation, peaceful) -> None:
    in_generation(2, terminate)
    stopped = launch()
    assert stopped.status == 75, stopped.output
    assert "Stopped by SIGTERM after generation 2, saved. The same command continues." in stopped.output
    assert [row["step"] for row in stopped.metrics] == [0, 1, 2]
    continued = launch()
    assert "continuing the stopped run" in continued.log
    assert_same(continued, peaceful)


@pytest.mark.slow
def test_a_run_that_failed_or_crashed_continues_from_its_last_checkpoint(launch, in_generation, peaceful) -> None:
    in_generation(3, fail)
    failed = launch("config.save_every_n_generations=2")
    assert failed.status == 1
    assert "ValueError: a mistake in somebody's code" in failed.output
    assert torch.load(failed.folder / "lightning" / "last.ckpt", weights_only=True)["generation"] == 2
    in_generation(4, crash)
    with pytest.raises(Crash):
        launch("config.save_every_n_generations=1")
    assert_same(launch(), peaceful)


@pytest.mark.slow
def test_a_larger_budget_continues_and_equals_a_straight_run(launch, peaceful) -> None:
    assert launch("config.num_generations=2").status == 0
    continued = launch()
    assert "continuing the finished run" in continued.log
    assert_same(continued, peaceful)


@pytest.mark.slow
def test_the_first_budget_that_is_spent_ends_the_run(launch) -> None:
    run = launch("config.target_fitness=5")
    assert [row["step"] for row in run.metrics] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [2, 3])
def test_any_number_of_ranks_computes_the_same(command, tmp_path: Path, peaceful, num_ranks: int) -> None:
    ranks = f"hydra.launcher.tasks_per_node={num_ranks}"
    run = command("cartpole_dynamic", *SHORT, ranks, project=PROJECT, defaults=(), root=tmp_path)
    assert_same(run, peaceful)
    assert not [path for path in run.folder.glob("rank_*.log") if "Traceback" in path.read_text()]


@pytest.mark.slow
def test_chaos(monkeypatch: pytest.MonkeyPatch) -> None:
    chaos = chaos_module()
    monkeypatch.setattr(chaos, "MOMENTS", ("training",))
    settings = ("config.num_generations=30", "config.target_fitness=null")
    settings += ("population.config.size=64", "config.num_validation_episodes=30")
    rng, draw = random.Random(1), random.Random(0).random
    rng.randint = lambda low, high: 1  # type: ignore[method-assign]  # One kill.
    rng.random = lambda: 0.6 * draw()  # type: ignore[method-assign]
    (outcome,) = chaos.chaos(chaos.Task("cartpole_dynamic", settings, project=PROJECT), 1, rng)
    assert outcome.problems == []
    assert len(outcome.kills) == 1
