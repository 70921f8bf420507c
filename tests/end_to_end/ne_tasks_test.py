"""Every neuroevolution task that is shipped runs, and leaves behind everything that a run must leave.

Tasks are found on the disk, so that a new one is tested by being there.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import common.run
from common.errors import ConfigError
from common.ne.load import load_run
from common.ne.random_numbers import episode_seeds
from common.run.metrics import read_metrics
from tests.end_to_end.conftest import REPOSITORY
from tests.processes import start

PROJECT = "ne_control_score"
TASKS = sorted(path.stem for path in (REPOSITORY / "projects" / PROJECT / "task").glob("*.yaml"))

SMALL = (
    "hydra.launcher.tasks_per_node=1",
    "config.num_generations=2",
    "config.num_minutes=null",
    "config.target_fitness=null",
    "config.num_validation_episodes=30",
    "config.num_test_episodes=30",
    "evaluator.config.num_episodes=1",
    "population.config.size=9",
)
"""What makes a task small."""

FITNESS = ("best", "mean", "median", "std", "worst", "num_nan")


@pytest.fixture(scope="module")
def evolve(command: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that runs a small task."""
    return lambda task, *overrides, **settings: command(
        task, *SMALL, *overrides, project=PROJECT, defaults=(), **settings
    )


@pytest.fixture(scope="module", params=TASKS)
def run(request: pytest.FixtureRequest, evolve: Callable[..., Any]) -> Any:
    """A finished run of each task, for two generations."""
    if request.param == "lunarlander":
        pytest.importorskip("Box2D")
    finished = evolve(request.param)
    assert finished.status == 0, finished.output
    return finished


def test_there_are_tasks_to_test() -> None:
    expected = {"cartpole", "acrobot", "mountaincar", "mountaincar_continuous", "pendulum", "lunarlander"}
    assert expected | {"cartpole_dynamic", "cartpole_recurrent", "cartpole_es"} <= set(TASKS)


@pytest.mark.slow
def test_metrics_describe_each_generation_and_the_champions_end(run: Any) -> None:
    rows = run.metrics
    assert [row["step"] for row in rows] == [0, 1, 2]
    for name in FITNESS:
        assert all(math.isfinite(row[f"fitness/{name}"]) for row in rows[:2])
    assert rows[0]["fitness/worst"] <= rows[0]["fitness/median"] <= rows[0]["fitness/best"]
    assert all("champion/validation" in row and row["population/diversity"] > 0 for row in rows[:2])
    assert set(rows[2]) == {"step", "time", "champion/test", "champion/test_std", "champion/test_worst"}
    timings = read_metrics(run.folder, "timings.csv")
    assert {"seconds/ask", "seconds/evaluate", "seconds/tell", "seconds/validate", "steps_per_second"} <= set(
        timings[0]
    )
    if "dynamic" in str(run.folder):
        assert all(row["population/nodes"] > 0 and row["population/edges"] > 0 for row in rows[:2])


@pytest.mark.slow
def test_the_result_is_the_champions_mean_on_the_test_episodes_and_its_file_plays_the_same(run: Any) -> None:
    assert run.provenance["status"] == "finished"
    assert run.provenance["result"] == run.final("champion/validation")
    loaded = common.run.load(run.folder)
    seeds = episode_seeds(0, 0, "test", 1, 30, is_shared=True)[0]
    assert loaded.play(seeds).mean() == run.final("champion/test")


@pytest.mark.slow
def test_run_leaves_hydras_files_checkpoints_and_its_log(run: Any) -> None:
    assert {path.name for path in (run.folder / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    assert set(SMALL) <= set(yaml.safe_load((run.folder / ".hydra" / "overrides.yaml").read_text())) | {SMALL[0]}
    checkpoint = torch.load(run.folder / "lightning" / "last.ckpt", weights_only=True)
    assert checkpoint["generation"] == 2
    assert "a new run" in run.log
    assert run.config.evaluator.config.backend in ("numba", "gymnasium")
    assert run.provenance["data"]["environment"] == run.config.evaluator.config.environment


@pytest.mark.slow
def test_pictures_show_something_and_the_champion_moves(run: Any) -> None:
    names = {path.name for path in run.folder.glob("*.png")}
    assert {"fitness.png", "fitness_std.png", "diversity.png", "seconds.png", "steps_per_second.png"} <= names
    assert ("topology.png" in names) == ("dynamic" in str(run.folder))
    for path in run.folder.glob("*.png"):
        pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).astype(np.int64)
        assert len(np.unique(pixels @ [65536, 256, 1])) > 50
    with Image.open(run.folder / "champion.gif") as animation:
        assert animation.n_frames > 5
        first = np.asarray(animation.convert("RGB"))
        animation.seek(animation.n_frames - 1)
        assert (np.asarray(animation.convert("RGB")) != first).any()


@pytest.mark.slow
def test_wandb_gets_a_run_with_the_champions_gif(evolve: Callable[..., Any]) -> None:
    run = evolve("cartpole_es", "config.num_generations=1")
    assert run.status == 0, run.output
    assert f"wandb sync {run.folder}/wandb/offline-run-*" in run.output
    (own,) = run.folder.glob("wandb/offline-run-*")
    assert list(own.glob("run-*.wandb"))
    assert list(own.glob("files/media/videos/champion_*.gif"))


@pytest.mark.slow
def test_play_replays_and_records(
    evolve: Callable[..., Any], cli_in_subprocess: Callable[..., Any], tmp_path: Path
) -> None:
    run = evolve("cartpole")
    script = REPOSITORY / "projects" / PROJECT / "play.py"
    gif = tmp_path / "play.gif"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    outcome = cli_in_subprocess(str(run.folder), "--episodes", "2", "--gif", str(gif), script=script, env=environment)
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("episode 0: total reward ")
    assert "over 2 episodes" in outcome.out
    assert gif.stat().st_size > 1000
    nothing = start([sys.executable, str(script), str(tmp_path)], environment)
    printed, _ = nothing.communicate()
    assert nothing.returncode == 2
    assert "has no champion.pt" in printed


def test_a_champion_whose_file_names_something_foreign_is_refused(tmp_path: Path) -> None:
    spec = {"evaluator": {"_target_": "os.system", "command": "true"}, "population": {}}
    torch.save({"spec": spec, "arrays": {}, "mean": 0.0, "generation": 0}, tmp_path / "champion.pt")
    with pytest.raises(ConfigError, match=r"'os\.system' is not an object that a configuration may name"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["evaluator.config.environment=CartPol-v1"], "Did you mean CartPole-v1?"),
        (["algorithm.config.num_elites=9"], "leaves no children in a population of population.config.size=9"),
        (["config.num_generations=null"], "no budget"),
        (["algorithm=snes", "population/networks=dynamic"], "these networks grow and shrink"),
        (["algorithm=cma_es", "population.config.size=3"], "it needs a population of at least 4, but got 3"),
        (["evaluator.config.enviroment=x"], "Did you mean evaluator.config.environment?"),
        (["population.config.size=0"], "it must be int ≥ 1"),
    ],
)
def test_mistakes_end_in_one_message_and_status_2(evolve: Callable[..., Any], overrides: list[str], text: str) -> None:
    run = evolve("cartpole", *overrides)
    assert run.status == 2, run.output
    assert text in run.output
    assert "Traceback" not in run.output
    assert list(run.root.iterdir()) == []  # Nothing was made.


def test_every_point_that_cannot_start_is_named(evolve: Callable[..., Any]) -> None:
    points = ("algorithm=simple_ga,openai_es", "population/networks=feedforward,dynamic")
    run = evolve("cartpole", *points, "evaluator.config.environment=CartPole-v1,CartPol-v1")
    assert run.status == 2, run.output
    told = [line for line in run.output.splitlines() if "at the point" in line]
    assert len(told) == 4 + 1
    assert sum("environment=CartPol-v1" in line for line in told) == 4
    assert (
        "algorithm=openai_es population/networks=dynamic evaluator.config.environment=CartPole-v1" in told[0] + told[-1]
    )
    assert list(run.root.iterdir()) == []


@pytest.mark.slow
def test_a_run_loads_neither_lightning_nor_what_it_does_not_use(
    cli_in_subprocess: Callable[..., Any], tmp_path: Path
) -> None:
    script = tmp_path / "importer.py"
    script.write_text(
        "import sys\nimport projects.ne_control_score.train\n"
        "print(*(name for name in ('pytorch_lightning', 'torchmetrics', 'matplotlib', 'numba', 'pygame', 'wandb', "
        "'gymnasium', 'scipy', 'transformers') if name in sys.modules))\n"
    )
    outcome = cli_in_subprocess(script=script, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert outcome.status == 0, outcome.err
    assert outcome.out == "\n"
