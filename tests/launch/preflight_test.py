"""What the preflight of a sweep finds, before anything starts."""

import itertools
import re
from pathlib import Path

import pytest
import yaml
from torch import Tensor

from common.dl import checks

FNN = ("task=fnn", "datamodule.config.source=digits", "logger=none")
SHAPES = "The network does not fit the data"


def points_of(text: str, err: str) -> list[str]:
    """Returns the points that are named below a line that has a text; none where it is about all."""
    lines = iter(err.splitlines())
    next(line for line in lines if text in line)
    return [line.strip() for line in itertools.takewhile(lambda line: line.startswith("  at the point"), lines)]


def test_all_mistakes_of_fifty_points_are_told_at_once(cli, root: Path) -> None:
    """A misspelt key, a wrong type, a missing value and a layer that does not fit, each with its points."""
    outcome = cli(
        *FNN,
        "litmodule.nnmodule.config.output_size=10,???",
        "litmodule.nnmodule.config.input_size=784,700",
        "config.seed=" + ",".join(map(str, range(12))) + ",many",
        "litmodule.optimizer.lrr=0.1",
    )
    assert outcome.status == 2
    assert list(root.rglob("*")) == []
    assert points_of("No configuration declares the key litmodule.optimizer.lrr.", outcome.err) == []
    many = points_of("config.seed='many' is not allowed: it must be int ≥ 0.", outcome.err)
    assert len(many) == 4
    assert all("config.seed=many" in point for point in many)
    missing = points_of("litmodule.nnmodule.config.output_size is missing", outcome.err)
    assert len(missing) == 26
    assert all("litmodule.nnmodule.config.output_size=???" in point for point in missing)
    unfit = points_of(SHAPES, outcome.err)
    assert len(unfit) == 12
    assert all("output_size=10" in point and "input_size=700" in point for point in unfit)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("litmodule.nnmodule.config.input_size=700",),
            "The network does not fit the data, a batch of 2×1×28×28, 2: mat1 and mat2 shapes cannot be multiplied "
            "(2x784 and 700x10). Look at litmodule.nnmodule.config.input_size=700, "
            "litmodule.nnmodule.config.output_size=10. (Set on the command line.)",
        ),
        (
            ("litmodule.nnmodule.config.output_size=7",),
            "it gives 7 scores for litmodule.config.num_classes=10. Look at litmodule.nnmodule.config.output_size=7.",
        ),
    ],
)
def test_network_that_does_not_fit_is_told_with_its_keys(cli, arguments: tuple[str, ...], text: str) -> None:
    outcome = cli(*FNN, *arguments, "config.preflight_only=true")
    assert outcome.status == 2
    assert text in outcome.err


@pytest.mark.parametrize("task", ["fnn", "mlp"])
def test_network_that_fits_goes_through(cli, task: str) -> None:
    outcome = cli(f"task={task}", *FNN[1:], "config.preflight_only=true")
    assert outcome.status == 0
    assert re.search(r"Preflight: 1 point checked in \d+\.\d s, nothing wrong\.", outcome.out)


def test_points_that_are_alike_are_tried_once(cli, root: Path) -> None:
    checks._try.cache_clear()
    outcome = cli(*FNN, "litmodule.optimizer.lr=0.1,0.2,0.3", "trainer.max_epochs=1,2", "config.preflight_only=true")
    assert outcome.status == 0
    assert "Preflight: 6 points checked" in outcome.out
    assert checks._try.cache_info().misses == 1
    assert list(root.rglob("*")) == []


def test_failure_on_the_meta_device_alone_is_none(monkeypatch: pytest.MonkeyPatch, cli) -> None:
    """Networks may do what the device without numbers cannot: look at a number."""
    from common.dl.litmodule._nnmodule import feedforward

    forward = feedforward.FNN.forward

    def looks(self: feedforward.FNN, x: Tensor) -> Tensor:
        assert float(x.sum()) == float(x.sum())
        return forward(self, x)

    monkeypatch.setattr(feedforward.FNN, "forward", looks)
    checks._try.cache_clear()
    assert cli(*FNN, "config.preflight_only=true").status == 0
    checks._try.cache_clear()


@pytest.mark.parametrize("option", [("--config-dir", "elsewhere"), ("--config-name", "other"), ("--resolve",)])
def test_an_option_that_a_run_has_no_use_for_is_refused(cli, root, option: tuple[str, ...]) -> None:
    outcome = cli("task=fnn", *option)
    assert outcome.status == 2
    assert f"A command that runs a task takes no {option[0]}" in outcome.err
    assert list(root.rglob("*")) == []


@pytest.mark.parametrize(
    "override", ["free={a:1}", "+free={a:1}", "++free={a:1}", "+free.a=1", "++free.a=1", "free.a=1"]
)
def test_what_the_checks_let_pass_is_what_runs(run, outputs, override: str) -> None:
    """A mapping that is free by its type, in each of Hydra's ways to fill one."""
    outcome = run(override)
    assert outcome.status == 0, outcome.err
    (folder,) = outputs()
    assert yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())["free"] == {"a": 1}


@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_sign_before_a_key_changes_nothing(run, seen: list[float], sign: str) -> None:
    outcome = run(f"{sign}number=4")
    assert outcome.status == 0, outcome.err
    assert seen == [4]
