"""A run records what it changes of its task's defaults."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.run.changes import changes_between, effective_overrides, flattened

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
