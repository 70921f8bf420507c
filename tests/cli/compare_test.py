"""Seeds are folded into means with intervals that SciPy confirms."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.cli.compare import interval_text
from common.cli.groups import chosen_runs, grouped
from common.cli.intervals import Interval, interval_of


@pytest.mark.parametrize("number", [2, 3, 5, 30])
def test_intervals_are_scipys(number: int) -> None:
    values = np.random.default_rng(number).normal(3, 2, number).tolist()
    interval = interval_of(values)
    low, high = stats.t.interval(0.95, number - 1, loc=np.mean(values), scale=stats.sem(values))
    assert interval.half_width is not None
    assert interval.mean - interval.half_width == pytest.approx(low, rel=1e-12)
    assert interval.mean + interval.half_width == pytest.approx(high, rel=1e-12)


def test_one_value_has_no_interval_and_nan_has_none() -> None:
    assert interval_of([2.0]) == Interval(2.0, None, 1)
    interval = interval_of([2.0, math.nan])
    assert math.isnan(interval.mean)
    assert interval.half_width is None


@pytest.mark.parametrize(
    ("mean", "half_width", "text"),
    [(0.94234, 0.0174, "0.942 ± 0.017"), (12.345, 2.3, "12.3 ± 2.3"), (1234.5, 250.0, "1234 ± 250")],
)  # fmt: skip
def test_figures_end_where_the_interval_begins(mean: float, half_width: float, text: str) -> None:
    assert interval_text(Interval(mean, half_width, 3)) == text


@pytest.fixture
def make_seeds(make_run: Any) -> Any:
    """Makes one run per loss, with seeds from 0."""

    def make(losses: list[float], **facts: Any) -> list[Path]:
        return [
            make_run(seed=seed, metrics=[{"step": 1, "val/loss": 9.0}, {"step": 2, "val/loss": loss}], **facts)
            for seed, loss in enumerate(losses)
        ]

    return make


def rows(said: Any) -> dict[Any, Any]:
    """Returns the groups by their learning rate."""
    return {group["settings"].get("m.lr"): group for group in said.json["groups"]}


def test_runs_that_differ_only_in_the_seed_are_one_group(ai_research: Any, make_seeds: Any) -> None:
    make_seeds([1.0, 2.0, 3.0], settings={"m.lr": 0.1})
    make_seeds([5.0, 5.0, 8.0], settings={"m.lr": 0.2})
    groups = rows(ai_research("compare", "project/task", "--json"))
    assert groups[0.1]["metrics"]["val/loss"]["mean"] == pytest.approx(2)
    assert groups[0.2]["metrics"]["val/loss"]["mean"] == pytest.approx(6)
    assert groups[0.1]["metrics"]["val/loss"]["half_width"] == pytest.approx(stats.t.ppf(0.975, 2) / 3**0.5)
    assert sorted(groups[0.1]["seeds"]) == [0, 1, 2]


def test_the_same_identity_counts_once_the_newest_finished(ai_research: Any, make_seeds: Any, make_run: Any) -> None:
    make_seeds([1.0, 2.0, 30.0])
    again = make_run(seed=2, identity=f"{2:012x}", metrics=[{"step": 2, "val/loss": 3.0}])
    make_run(seed=2, identity=f"{2:012x}", status="stopped", metrics=[{"step": 1, "val/loss": 99.0}])
    (group,) = ai_research("compare", "project/task", "--json").json["groups"]
    assert group["metrics"]["val/loss"] == {"mean": 2.0, "half_width": pytest.approx(2.484, abs=1e-3), "num_seeds": 3}
    assert str(again) in group["runs"]


def test_a_run_from_a_checkpoint_is_a_group_of_its_own(ai_research: Any, make_run: Any) -> None:
    """The later one, which had started from foreign weights, does not replace the one from scratch."""
    origin = {"path": "/other/last.ckpt", "fingerprint": "0123456789ab", "identity": "abcdef012345"}
    make_run(metrics=[{"step": 1, "val/loss": 0.5}])
    make_run(metrics=[{"step": 1, "val/loss": 0.25}], origin=origin)
    groups = ai_research("compare", "project/task", "--json").json["groups"]
    starts = {group["settings"].get("starts from"): group["metrics"]["val/loss"]["mean"] for group in groups}
    assert starts == {None: 0.5, "abcdef012345 0123456789ab": 0.25}
    assert "starts from" in ai_research("compare", "project/task").out
    assert "from abcdef012345" in ai_research("ls").out
    assert "/other/last.ckpt of run abcdef012345 (fingerprint 0123456789ab)" in ai_research("show", "last").out


def test_one_seed_as_a_plain_run_and_as_a_point_counts_once(ai_research: Any, make_seeds: Any, make_run: Any) -> None:
    """Their identities differ: what a sweep varies is a part of a point's."""
    make_seeds([1.0, 2.0])
    make_run("project/task/2026-01-31_13-00-00", kind="sweep")
    make_run("project/task/2026-01-31_13-00-00/0_x", kind="point", seed=1, metrics=[{"step": 2, "val/loss": 4.0}])
    (group,) = ai_research("compare", "project/task", "--json").json["groups"]
    assert group["metrics"]["val/loss"]["mean"] == pytest.approx(2.5)
    assert group["metrics"]["val/loss"]["num_seeds"] == 2


def test_paths_and_logger_make_no_group_but_budget_and_data_do(make_seeds: Any, make_run: Any) -> None:
    folders = make_seeds([1.0, 2.0])
    assert len(grouped(chosen_runs(["project/task"]))) == 1
    make_run(seed=3, data={"fingerprint": "other"})
    assert len(grouped(chosen_runs(["project/task"]))) == 2
    make_run(seed=4, settings={"trainer.max_epochs": 9})
    groups = grouped(chosen_runs(["project/task"]))
    assert sorted(len(group.runs) for group in groups) == [1, 1, 2]
    assert len(folders) == 2


def test_fewer_than_three_seeds_other_code_and_unfinished_runs_are_said(
    ai_research: Any, make_seeds: Any, make_run: Any
) -> None:
    make_seeds([1.0, 2.0])
    make_run(seed=7, metrics=[{"step": 1, "val/loss": 1}], status="stopped")
    make_run(seed=8, metrics=[{"step": 1, "val/loss": 1}], settings={"m.lr": 3}, code={"common/x.py": "b"},
             packages={"torch": "1"})  # fmt: skip
    said = ai_research("compare", "project/task")
    assert "Fewer than 3 seeds" in said.out
    assert "not run on the same code: common/x.py" in said.out
    assert "different versions of torch" in said.out
    assert "Left out: 1 stopped" in said.out
    assert "Student" in said.out


def test_unfinished_runs_count_when_asked(ai_research: Any, make_run: Any) -> None:
    folder = make_run(status="stopped", metrics=[{"step": 1, "val/loss": 1}])
    said = ai_research("compare", folder)
    assert said.status == 2
    assert "--unfinished" in said.err
    assert ai_research("compare", folder, "--unfinished").status == 0


def test_a_metric_that_no_run_has_is_refused(ai_research: Any, make_seeds: Any) -> None:
    make_seeds([1.0])
    said = ai_research("compare", "project/task", "--metric", "val/los")
    assert said.status == 2
    assert "There are: val/loss" in said.err


def test_a_damaged_configuration_is_named(ai_research: Any, make_seeds: Any) -> None:
    (folder,) = make_seeds([1.0])
    (folder / ".hydra/config.yaml").write_text("a: [")
    said = ai_research("compare", folder)
    assert said.status == 2
    assert str(folder) in said.err


def test_seeds_that_follow_the_run_s_tell_no_groups_apart_and_a_seed_set_by_hand_does(
    ai_research: Any, make_run: Any
) -> None:
    for seed in (0, 1):
        key = "datamodule.config.seed"
        rows_of = [{"step": 1, "val/loss": 1.0}]
        make_run(seed=seed, settings={key: seed}, changes={}, metrics=rows_of)
        make_run(seed=seed, settings={key: 0}, metrics=rows_of)
    groups = ai_research("compare", "project/task", "--json").json["groups"]
    assert sorted(sorted(group["seeds"]) for group in groups) == [[0, 1], [0, 1]]


@pytest.mark.slow
def test_a_real_sweep_with_its_picture_and_table(ai_research: Any, real: Path, tmp_path: Path) -> None:
    picture, table = tmp_path / "curves.png", tmp_path / "table.csv"
    said = ai_research("compare", real, "--plot", picture, "--csv", table)
    assert said.status == 0
    assert re.search(r"lr +seeds", said.out)
    assert re.search(r"0\.001 +0,1,2 +\d\.\d+ ± \d\.\d+", said.out)
    with table.open() as file:
        found = list(csv.DictReader(file))
    assert [row["litmodule.optimizer.lr"] for row in found] == ["0.001", "0.01"]
    assert all(row["test/accuracy num_seeds"] == "3" for row in found)
    assert picture.stat().st_size > 10_000
