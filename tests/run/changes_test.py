"""A run records what it changes of its task's defaults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.run.changes import changes_between, effective_overrides, flattened, is_below

DEFAULTS = {"m": {"lr": 0.1, "sizes": [1, 2], "old": 1}, "config": {"output_dir": "a", "seed": 0}, "hydra": {"x": 1}}
CHANGED = {
    "m": {"lr": 0.2, "sizes": [1, 3], "new": 5, "null": None},
    "config": {"output_dir": "b", "seed": 0},
    "hydra": {"x": 2},
}


def test_what_differs_with_both_sides_but_for_a_runs_own_keys() -> None:
    assert changes_between(DEFAULTS, CHANGED) == {
        "m.lr": {"default": 0.1, "value": 0.2},
        "m.sizes": {"default": [1, 2], "value": [1, 3]},
        "m.old": {"default": 1},
        "m.new": {"value": 5},
    }


def test_a_tree_is_flattened_to_its_lists_and_empty_mappings() -> None:
    assert flattened({"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}) == {"a.b": [1, {"c": 2}], "a.d": {}, "e": None}


@pytest.mark.parametrize(
    ("override", "effective"),
    [
        ("m.lr=2e-1", {"m.lr": 0.2}),
        ("++m.lr=0.2", {"m.lr": 0.2}),
        ("m.unchanged=3", {}),
        ("m=other", {"m": "other"}),
        ("group/of=it", {"group/of": "it"}),
        ("~m.old", {"~m.old": ""}),
        ("task=x", {}),
    ],
)
def test_only_overrides_that_change_something_count(override: str, effective: dict[str, Any]) -> None:
    changes = changes_between(DEFAULTS, CHANGED) | {"group.of.key": {"value": 1}}
    assert effective_overrides([override], changes) == effective


@pytest.mark.slow
def test_a_real_run_records_them(cli: Any, run_folder: Callable[[], Path]) -> None:
    """An override that repeats the default is none."""
    outcome = cli(
        "task=fnn", "datamodule.config.source=digits", "logger=none", "trainer.max_epochs=1",
        "trainer.limit_train_batches=2", "litmodule.optimizer.lr=0.002", "litmodule/optimizer=sgd",
        "trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert outcome.status == 0, outcome.err
    record = json.loads((run_folder() / "provenance.json").read_text())
    assert record["given"] == {
        "datamodule.config.source": "digits",
        "logger": "none",
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
        "litmodule/optimizer": "sgd",
        "trainer.enable_progress_bar": False,
    }
    assert record["changes"]["trainer.max_epochs"] == {"default": 3, "value": 1}
    assert record["changes"]["datamodule.config.source"] == {"default": "auto", "value": "digits"}
    assert "litmodule.optimizer.lr" not in record["changes"]


def test_null_and_missing_make_no_difference_on_either_side() -> None:
    assert changes_between({"a": None, "b": 1}, {"b": 1}) == {}
    assert changes_between({"b": 1}, {"a": None, "b": 1}) == {}
    assert changes_between({"a": None}, {"a": 0}) == {"a": {"default": None, "value": 0}}


def test_keys_come_in_the_defaults_order_and_then_in_the_configuration_s() -> None:
    changes = changes_between({"z": 1, "a": 1}, {"new": 1, "a": 2, "z": 2})
    assert list(changes) == ["z", "a", "new"]


@pytest.mark.parametrize(
    ("key", "keys", "expected"),
    [
        ("a.b", ("a",), True),
        ("a", ("a",), True),
        ("ab", ("a",), False),
        ("a.b", ("c", "a.b"), True),
        ("a", ("a.b",), False),
        ("b.a", ("a",), False),
        ("a", (), False),
    ],
)
def test_a_key_is_below_those_that_it_begins_with(key: str, keys: tuple[str, ...], expected: bool) -> None:
    assert is_below(key, keys) is expected


def test_a_run_s_own_keys_are_no_changes_and_their_neighbours_are() -> None:
    before = {"hydra": {"a": 1}, "config": {"output_dir": 1, "ckpt_path": 1, "data_dir": 1}, "hydrant": 1}
    after = {"hydra": {"a": 2}, "config": {"output_dir": 2, "ckpt_path": 2, "data_dir": 2}, "hydrant": 2}
    assert list(changes_between(before, after)) == ["config.data_dir", "hydrant"]


def test_an_override_of_a_group_at_a_package_counts_by_its_group() -> None:
    changes = {"litmodule.optimizer.lr": {"default": 1, "value": 2}}
    assert effective_overrides(["litmodule/optimizer@x=sgd"], changes) == {"litmodule/optimizer@x": "sgd"}
    assert effective_overrides(["litmodule.optimizer.lr.x=1"], changes) == {}
    assert effective_overrides(["a=b=c"], {"a": {"default": 1}}) == {"a": "b=c"}
