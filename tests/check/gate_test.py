"""What is built is what was judged, whatever changes in between, and whoever wrote the file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from torch import nn

from common.check import Declared
from common.check.gate import admit, admit_from_disk, fingerprint, freeze
from common.engine import Engine
from common.errors import ConfigError
from common.launch.job import check_judged
from common.launch.point import Point
from common.launch.role import JUDGED_VARIABLE

RELU = {"_target_": "torch.nn.ReLU"}


def composed(**parts: Any) -> Any:
    return OmegaConf.create({"hydra": {}, "config": {"output_dir": "<output_dir>", "seed": 3}, **parts})


def test_a_value_stays_as_it_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET", "torch.nn.ReLU")
    config = composed(
        x={"_target_": "${oc.env:TARGET}", "deep": [{"seed": "${config.seed}"}, "${config}"]},
        y={"folder": "${config.output_dir}/lightning/"},
    )
    freeze(config)
    monkeypatch.setenv("TARGET", "os.system")
    config.config.seed = 4
    config.config.output_dir = "/run"
    assert config.x._target_ == "torch.nn.ReLU"
    assert config.x.deep[0].seed == 3
    assert config.x.deep[1].seed == 3
    assert config.y.folder == "/run/lightning/"


@pytest.mark.parametrize("value", ["\\${oc.env:HOME}", "${oc.env:LIVE}", "a ${oc.env:LIVE} b"])
def test_a_value_that_gives_an_interpolation_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVE", "${oc.env:HOME}")
    with pytest.raises(ConfigError, match=r"x\.y=.* must not give an interpolation that is resolved later"):
        freeze(composed(x={"y": value}))


def test_a_fingerprint_tells_every_value_but_those_that_loggers_are_told() -> None:
    tree = {"config": {"seed": 1}, "x": [RELU], "logger": {"_target_": "a.B", "name": "n"}, "hydra": {"a": 1}}
    same = tree | {"hydra": {"a": 2}, "logger": {"_target_": "a.B", "name": "other"}}
    assert fingerprint(tree) == fingerprint(same)
    others: list[dict[str, Any]] = [
        {"config": {"seed": 2}},
        {"config": {"seed": True}},
        {"config": {"seed": 1.0}},
        {"x": [RELU | {"inplace": True}]},
        {"x": []},
        {"logger": {"_target_": "a.C", "name": "n"}},
    ]
    assert Counter(fingerprint(tree | other) for other in others).most_common(1)[0][1] == 1
    assert fingerprint(tree) not in {fingerprint(tree | other) for other in others}


def test_what_is_about_to_be_built_is_judged_once_more() -> None:
    declared = Declared(frozenset({"x"}), hints={"x": nn.Module})
    admit(OmegaConf.create({"x": RELU}), declared)
    for tree, text in (
        ({"x": {"_target_": "os.system"}}, "x._target_='os.system' is not an object"),
        ({"x": RELU, "z": 1}, "No configuration declares the key z"),
        ({"x": {"_target_": "torch.optim.SGD", "_partial_": True}}, "it must be Module"),
        ({"x": RELU | {"inplace": "${oc.env:HOME}"}}, "must not give an interpolation"),
    ):
        with pytest.raises(ConfigError) as raised:
            admit(OmegaConf.create(tree), declared)
        assert text in str(raised.value)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"_target_": "os.makedirs", "name": "x"}, "is not an object that a configuration may name"),
        ({"_target_": "torch.load", "f": "x"}, "is not an object that a configuration may name"),
        ({"_target_": "torch.optim.SGD", "_partial_": True}, "it must be Module"),
        ({"_target_": "torch.nn.Sequential", "_args_": [RELU]}, "give arguments by their names"),
        (RELU | {"_zen_wrappers": ["torch.nn.ReLU"]}, "is not an object that a configuration may name"),
        (RELU | {"inplace": {"_target_": "os.makedirs"}}, "is not an object that a configuration may name"),
        (RELU | {"inplce": True}, "Did you mean x.inplace?"),
        (5, "x=5 is not allowed: it must be Module"),
        (None, "x=None is not allowed: it must be Module"),
    ],
    ids=str,
)
def test_a_node_from_a_file_passes_the_same_gate(node: Any, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        admit_from_disk(node, "x", nn.Module, ())
    assert text in str(raised.value)


def test_a_node_from_a_file_is_returned_as_it_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET", "torch.nn.ReLU")
    tree = admit_from_disk(OmegaConf.create({"_target_": "${oc.env:TARGET}"}), "x", nn.Module, ())
    monkeypatch.setenv("TARGET", "os.system")
    assert tree == {"_target_": "torch.nn.ReLU"}
    assert admit_from_disk({"_target_": "collections.Counter"}, "x", Counter, ("collections",)) is not None


def test_a_process_builds_nothing_but_what_was_judged_where_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    point = Point(0, [], [], OmegaConf.create(), 1, 1, {}, {}, {}, {}, Engine(), judged="abc")
    check_judged(point)
    monkeypatch.setenv(JUDGED_VARIABLE, "abc")
    check_judged(point)
    with pytest.raises(ConfigError, match=r"composed another configuration \(fingerprint other\).*\(abc\)"):
        check_judged(replace(point, judged="other"))


def test_a_job_that_composes_something_else_is_refused(cli, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """As a further rank: its first one says what was judged."""
    monkeypatch.setenv("AI_RESEARCH_RUN_FOLDER", str(root))
    monkeypatch.setenv(JUDGED_VARIABLE, "0123456789abcdef")
    outcome = cli("task=fnn", "logger=none", "datamodule.config.source=digits")
    assert outcome.status == 2
    assert "(0123456789abcdef)" in outcome.err
