"""Points are made when they are looked at, and what depends on no varied key is resolved once."""

import itertools
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from common.check.problem import Problem
from common.check.task_file import TaskFile
from common.errors import ConfigError
from common.foreign.hydra import apply_overrides
from common.launch.composing import Template
from common.launch.findings import MOST_POINTS, Findings
from common.launch.sweep.search import expand_grid, parse_overrides


def test_a_grid_is_never_written_out() -> None:
    points = expand_grid(["a=range(0,100000)", "b=x"])
    assert len(points) == 100_000
    assert points[99_999] == ["a=99999", "b=x"]
    assert points[-1] == points[99_999]
    assert points[3:5] == [["a=3", "b=x"], ["a=4", "b=x"]]
    with pytest.raises(IndexError):
        points[100_000]


def test_points_have_the_order_of_nested_loops() -> None:
    grid = expand_grid(["a=1,2", "b=x,y,z", "c=3"])
    assert list(grid) == [[f"a={a}", f"b={b}", "c=3"] for a, b in itertools.product("12", "xyz")]


@pytest.mark.parametrize("values", ["range(0,1000000000)", "range(0,1e12,0.1)"])
def test_too_many_points_are_counted_and_not_made(values: str) -> None:
    with pytest.raises(ConfigError, match=r"Is that meant\? Then add hydra\.sweeper\.max_points=\d+"):
        expand_grid([f"a={values}"])
    with pytest.raises(ConfigError, match=r"The sweep has 6 points, more than hydra\.sweeper\.max_points=5"):
        expand_grid(["a=1,2,3", "b=1,2"], max_points=5)


def test_a_template_gives_what_a_whole_resolution_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/data")
    config = OmegaConf.create(
        {
            "config": {"seed": 0, "device": "cpu", "dir": "${oc.env:PLACE}/x"},
            "data": {"config": {"seed": "${config.seed}", "dir": "${config.dir}", "again": "${data.config.seed}"}},
            "text": "seed ${config.seed} on ${config.device}",
            "whole": "${config}",
            "chosen": "${oc.select:config.seed,7}",
            "list": [1, {"a": "${config.seed}"}],
            "free": {0: 2, 1: "${config.seed}"},
        }
    )
    template = Template(config)
    for seed, more in ((1, "a"), (2, "'b c'"), (2, "null"), (30, "[1,2]"), (4, "true")):
        values = parse_overrides([f"++config.seed={seed}", f"++data.config.more={more}"])
        whole = OmegaConf.create(OmegaConf.to_container(config))
        apply_overrides(values, whole)
        OmegaConf.resolve(whole)
        assert template.resolved(values, apply_overrides) == OmegaConf.to_container(whole)


def test_what_is_gathered_does_not_grow_with_the_points() -> None:
    findings = Findings(["a=range(0,9999)"], TaskFile(path=Path("x"), lines={"b": 7}))
    for number in range(5000):
        findings.add(Problem("b", "b is wrong."), [f"a={number}"])
        findings.add(Problem("c", f"c={number} is wrong.", "wrong"), [f"a={number}"])
    lines = findings.text(9999).splitlines()
    assert lines[0] == "b is wrong. (Set in x, line 7.)"
    assert lines[1 : 1 + MOST_POINTS] == [f"  at the point a={number}" for number in range(MOST_POINTS)]
    assert lines[1 + MOST_POINTS] == f"  and at {5000 - MOST_POINTS:,} points more"
    assert lines[-1] == "The same at 4,997 points with other values of c."
