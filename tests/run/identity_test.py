"""What tells two runs apart, and what does not."""

from pathlib import Path
from typing import Any

import pytest

from common.run.identity import budget_of, changed_files, code_fingerprints, identity_of, is_larger_budget

TREE: dict[str, Any] = {
    "config": {"seed": 0, "device": "cpu", "output_dir": "/a", "ckpt_path": "last", "save_every_n_minutes": 10},
    "trainer": {"max_epochs": 3, "devices": 1, "enable_progress_bar": True},
    "litmodule": {"optimizer": {"lr": 0.1}},
    "logger": {"name": "x"},
}
DATA = {"source": "digits", "fingerprint": "abc"}


def changed(key: str, value: Any) -> dict[str, Any]:
    group, _, rest = key.partition(".")
    inner = changed_in(TREE[group], rest, value)
    return {**TREE, group: inner}


def changed_in(tree: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    name, _, rest = key.partition(".")
    return {**tree, name: changed_in(tree[name], rest, value) if rest else value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config.output_dir", "/b"),
        ("config.ckpt_path", None),
        ("config.save_every_n_minutes", 1),
        ("config.skip_finished", True),
        ("config.preflight_only", True),
        ("trainer.max_epochs", 5),
        ("trainer.max_steps", 5),
        ("trainer.max_time", "00:01"),
        ("trainer.enable_progress_bar", False),
        ("logger.name", "y"),
    ],
)
def test_what_changes_no_result_is_left_out(key: str, value: Any) -> None:
    assert identity_of(changed(key, value), DATA, {}) == identity_of(TREE, DATA, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [("config.seed", 1), ("config.device", "gpu"), ("trainer.devices", 2), ("litmodule.optimizer.lr", 0.2)],
)
def test_what_changes_a_result_counts(key: str, value: Any) -> None:
    assert identity_of(changed(key, value), DATA, {}) != identity_of(TREE, DATA, {})


def test_the_data_and_the_swept_keys_count() -> None:
    assert identity_of(TREE, {**DATA, "fingerprint": "abd"}, {}) != identity_of(TREE, DATA, {})
    swept = [identity_of(TREE, DATA, {"trainer.max_epochs": value}) for value in ("1", "2")]
    assert len({*swept, identity_of(TREE, DATA, {})}) == 3


@pytest.mark.parametrize(
    ("new", "old", "is_larger"),
    [
        ({"trainer.max_epochs": 5}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": 3}, {"trainer.max_epochs": 3}, False),
        ({"trainer.max_epochs": 2}, {"trainer.max_epochs": 3}, False),
        ({}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": -1}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": 5, "trainer.max_steps": 1}, {"trainer.max_epochs": 3, "trainer.max_steps": 2}, False),
    ],
)
def test_a_larger_budget_leaves_something_to_do(new: dict[str, Any], old: dict[str, Any], is_larger: bool) -> None:
    assert is_larger_budget(new, old) is is_larger


def test_budgets_are_taken_from_the_configuration() -> None:
    assert budget_of(TREE) == {"trainer.max_epochs": 3}


def test_changed_code_is_found_and_tests_are_no_code(tmp_path: Path) -> None:
    for name in ("same.py", "changes.py", "goes.py", "some_test.py"):
        (tmp_path / name).write_text("1")
    before = code_fingerprints([tmp_path], tmp_path)
    (tmp_path / "changes.py").write_text("2")
    (tmp_path / "some_test.py").write_text("2")
    (tmp_path / "comes.py").write_text("2")
    (tmp_path / "goes.py").unlink()
    assert changed_files(code_fingerprints([tmp_path], tmp_path), before) == ["changes.py", "comes.py", "goes.py"]
