"""A third engine, of which nothing outside its folder knows: continued, swept, listed, compared, reported, loaded."""

import math
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import common.run
from common.errors import ConfigError
from common.run.metrics import read_metrics
from tests.cli.conftest import ai_research  # noqa: F401
from tests.toy.engine import ToyRunner

TOY = Path(__file__).with_name("toy")
REPOSITORY = TOY.parents[1]


@pytest.fixture
def climb(cli: Callable[..., Any]) -> Callable[..., Any]:
    """Runs the toy's command in this process."""
    return lambda *arguments: cli("task=hill", *arguments, project=TOY, runner=ToyRunner)


def heights(step_size: float, seed: int, num_rounds: int) -> list[float]:
    """Returns what each round of a climb must reach, by a plain loop."""
    places = [5.0]
    for number in range(num_rounds):
        tried = places[-1] + random.Random(f"{seed} {number}").gauss(0, step_size)
        places.append(min(places[-1], tried, key=abs))
    return [math.exp(-abs(place)) for place in places[1:]]


def logged(folder: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["height/best"]) for row in read_metrics(folder)]


@pytest.mark.slow
def test_a_killed_run_is_shown_and_continued_by_the_same_command(
    climb: Any, cli_in_subprocess: Any, ai_research: Any, run_folder: Any  # noqa: F811
) -> None:  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = cli_in_subprocess("task=hill", "config.dies_in_round=5", script=TOY / "train.py", env=environment)
    assert killed.status == -signal.SIGKILL, killed.err
    (shown,) = ai_research("ls", "--json").json
    assert shown["status"] == "interrupted"
    continued = climb()
    assert continued.status == 0, continued.err
    assert logged(run_folder()) == list(enumerate(heights(0.5, 0, 8)))
    assert climb("config.num_rounds=12").status == 0
    assert logged(run_folder()) == list(enumerate(heights(0.5, 0, 12)))
    assert "camps/last.ckpt" in ai_research("show", "last").out
    assert len(ai_research("show", "last", "--json").json["record"]["launches"]) == 3


def test_a_running_one_says_how_far_it_is(climb: Any, ai_research: Any, run_folder: Any) -> None:  # noqa: F811
    from common.run.lock import FolderLock

    assert climb("config.num_rounds=2").status == 0
    record = run_folder() / "provenance.json"
    record.write_text(record.read_text().replace('"finished"', '"running"').replace('_rounds": 2', '_rounds": 8'))
    lock = FolderLock(run_folder())
    assert lock.acquire()
    assert "running 25%" in ai_research("ls").out
    lock.release()


def test_its_sweep_is_listed_compared_and_reported(
    climb: Any, ai_research: Any, root: Path, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    swept = climb("step_size=0.1,2", "config.seed=0,1,2")
    assert swept.status == 0, swept.err
    last = {(size, seed): heights(size, seed, 8)[-1] for size in (0.1, 2) for seed in (0, 1, 2)}
    assert f"best: height/best {max(last.values()):.4g}"[:24] in ai_research("ls").out
    groups = ai_research("compare", "toy/hill", "--json").json["groups"]
    means = {group["settings"]["step_size"]: group["metrics"]["height/best"]["mean"] for group in groups}
    assert means == {size: pytest.approx(sum(last[size, seed] for seed in (0, 1, 2)) / 3) for size in (0.1, 2)}
    page = tmp_path / "page.html"
    assert ai_research("report", "last", "--output", page).status == 0
    assert "height/best" in page.read_text()
    assert not list((root / "data" / "toy" / "hill").glob("*/*/checkpoints"))


def test_it_is_loaded_by_the_same_function_where_python_code_allows_it(climb: Any, run_folder: Any) -> None:
    assert climb("config.num_rounds=3").status == 0
    place = common.run.load(run_folder(), allowed_targets=("tests.toy",))
    assert math.exp(-abs(float(place))) == pytest.approx(heights(0.5, 0, 3)[-1])
    with pytest.raises(ConfigError, match=r"says that tests\.toy\.engine\.load_run loads it"):
        common.run.load(run_folder())
