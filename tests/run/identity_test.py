"""What tells two runs apart, and what does not."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.dl.engine import DEEP_LEARNING
from common.engine import Engine
from common.ne.engine import NEUROEVOLUTION
from common.run.changes import flattened
from common.run.code import code_fingerprints
from common.run.identity import (
    budget_of,
    changed_files,
    fingerprint_files,
    identity_of,
    is_larger_budget,
)
from projects.ne_control_score.train import TaskRunner as EvolutionRunner

TREE: dict[str, Any] = {
    "config": {"seed": 0, "device": "cpu", "output_dir": "/a", "ckpt_path": "last", "save_every_n_minutes": 10},
    "trainer": {"max_epochs": 3, "devices": 1, "enable_progress_bar": True},
    "litmodule": {"optimizer": {"lr": 0.1}},
    "logger": {"name": "x"},
}
EVOLUTION = Path(__file__).resolve().parents[2] / "projects" / "ne_control_score"
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
    assert identity_of(changed(key, value), DATA, {}, DEEP_LEARNING) == identity_of(TREE, DATA, {}, DEEP_LEARNING)


@pytest.mark.parametrize(
    ("key", "value"),
    [("config.seed", 1), ("config.device", "gpu"), ("trainer.devices", 2), ("litmodule.optimizer.lr", 0.2)],
)
def test_what_changes_a_result_counts(key: str, value: Any) -> None:
    assert identity_of(changed(key, value), DATA, {}, DEEP_LEARNING) != identity_of(TREE, DATA, {}, DEEP_LEARNING)


BUDGETS = {
    "trainer.max_epochs", "trainer.max_steps", "trainer.max_time",
    "config.num_generations", "config.num_minutes", "config.target_fitness",
}  # fmt: skip
WITHOUT_EFFECT = {
    "config.data_dir", "config.output_dir", "config.ckpt_path", "config.save_every_n_minutes",
    "config.save_every_n_generations", "config.skip_finished", "config.preflight_only", "datamodule.config.data_dir",
    "trainer.barebones", "trainer.default_root_dir", "trainer.enable_checkpointing", "trainer.enable_model_summary",
    "trainer.enable_progress_bar", "trainer.logger", "trainer.profiler", "project", "task",
}  # fmt: skip
"""Where a run reads and writes, how often it saves, and what a person sees of it."""


@pytest.fixture(params=[DEEP_LEARNING, NEUROEVOLUTION], ids=["classify_mnist", "ne_control_score"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """What an engine says of itself."""
    found: Engine = request.param
    return found


@pytest.fixture
def composed(engine: Engine, cli) -> dict[str, Any]:
    """The whole configuration of a task that ships."""
    if engine is DEEP_LEARNING:
        outcome = cli("task=fnn", "--cfg", "job")
    else:
        outcome = cli("task=cartpole", "--cfg", "job", project=EVOLUTION, runner=EvolutionRunner)
    tree: dict[str, Any] = yaml.safe_load(outcome.out)
    return tree


def test_every_value_of_a_configuration_counts_but_for_those_listed_here(
    composed: dict[str, Any], engine: Engine
) -> None:
    unchanged = identity_of(composed, DATA, {}, engine)
    leaves = flattened(composed)
    same = {key for key in leaves if identity_of(changed_in(composed, key, "another"), DATA, {}, engine) == unchanged}
    loggers = {key for key in leaves if key.startswith("logger.")}
    assert same == (BUDGETS | WITHOUT_EFFECT | loggers) & {*leaves}
    assert len(leaves) > 50
    assert len(loggers) > 5


def test_every_budget_is_listed_here_and_is_none_where_it_is_null(composed: dict[str, Any], engine: Engine) -> None:
    expected = {key: value for key, value in flattened(composed).items() if key in BUDGETS and value is not None}
    assert budget_of(composed, engine) == expected
    for key in (one.key for one in engine.budgets):
        assert key in BUDGETS
        group, _, name = key.partition(".")
        assert budget_of({group: {name: 7}}, engine) == {key: 7}
        assert budget_of({group: None}, engine) == {}


def test_hydra_s_own_settings_do_not_count_nor_the_order_of_keys() -> None:
    assert identity_of({**TREE, "hydra": {"x": 1}}, DATA, {}, DEEP_LEARNING) == identity_of(
        TREE, DATA, {}, DEEP_LEARNING
    )
    assert identity_of(dict(reversed(TREE.items())), dict(reversed(DATA.items())), {}, DEEP_LEARNING) == identity_of(
        TREE, DATA, {}, DEEP_LEARNING
    )


@pytest.mark.parametrize(
    "tree",
    [
        lambda value: {**TREE, "max_epochs": value},
        lambda value: {**TREE, "litmodule": {"max_epochs": value}},
        lambda value: {**TREE, "litmodule": {"trainer": {"max_epochs": value}}},
        lambda value: {**TREE, "trainer": {"inner": {"max_epochs": value}}},
        lambda value: {**TREE, "litmodule": {"logger": {"name": value}}},
    ],
)
def test_a_key_that_only_ends_like_one_without_effect_counts(tree: Any) -> None:
    assert identity_of(tree(1), DATA, {}, DEEP_LEARNING) != identity_of(tree(2), DATA, {}, DEEP_LEARNING)


def test_an_identity_is_twelve_hexadecimal_digits_and_stays_what_it_was() -> None:
    """The stored runs of other people are found by it."""
    facts = '{"config": {"x": 1}, "data": {}, "swept": {"x": "1"}}'
    assert identity_of({"x": 1}, {}, {"x": "1"}, DEEP_LEARNING) == hashlib.sha256(facts.encode()).hexdigest()[:12]
    assert identity_of({"x": Path("/a")}, {}, {}, DEEP_LEARNING) == identity_of({"x": "/a"}, {}, {}, DEEP_LEARNING)


def test_the_data_and_the_swept_keys_count() -> None:
    assert identity_of(TREE, {**DATA, "fingerprint": "abd"}, {}, DEEP_LEARNING) != identity_of(
        TREE, DATA, {}, DEEP_LEARNING
    )
    swept = [identity_of(TREE, DATA, {"trainer.max_epochs": value}, DEEP_LEARNING) for value in ("1", "2")]
    assert len({*swept, identity_of(TREE, DATA, {}, DEEP_LEARNING)}) == 3


@pytest.mark.parametrize(
    ("new", "old", "is_larger"),
    [
        ({"trainer.max_epochs": 5}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": 3}, {"trainer.max_epochs": 3}, False),
        ({"trainer.max_epochs": 2}, {"trainer.max_epochs": 3}, False),
        ({}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": -1}, {"trainer.max_epochs": 3}, True),
        ({"trainer.max_epochs": 5, "trainer.max_steps": 1}, {"trainer.max_epochs": 3, "trainer.max_steps": 2}, False),
        ({"trainer.max_epochs": 5, "trainer.max_steps": 2}, {"trainer.max_epochs": 3, "trainer.max_steps": 2}, True),
        ({"trainer.max_epochs": 3}, {}, False),
        ({"trainer.max_epochs": 3}, {"trainer.max_epochs": -1}, False),
        ({"trainer.max_time": "00:02:00:00"}, {"trainer.max_time": "00:01:00:00"}, True),
        ({"trainer.max_time": "00:01:00:00"}, {}, True),
        ({"config.num_minutes": 1.5}, {"config.num_minutes": 1.25}, True),
        ({}, {}, False),
    ],
)
def test_a_larger_budget_leaves_something_to_do(new: dict[str, Any], old: dict[str, Any], is_larger: bool) -> None:
    assert is_larger_budget(new, old) is is_larger


def test_budgets_are_taken_from_the_configuration() -> None:
    assert budget_of(TREE, DEEP_LEARNING) == {"trainer.max_epochs": 3}


def test_changed_code_is_found_and_tests_are_no_code(tmp_path: Path) -> None:
    for name in ("same.py", "changes.py", "goes.py", "some_test.py"):
        (tmp_path / name).write_text("1")
    before = code_fingerprints([tmp_path], tmp_path)
    (tmp_path / "changes.py").write_text("2")
    (tmp_path / "some_test.py").write_text("2")
    (tmp_path / "comes.py").write_text("2")
    (tmp_path / "goes.py").unlink()
    assert changed_files(code_fingerprints([tmp_path], tmp_path), before) == ["changes.py", "comes.py", "goes.py"]


def test_code_in_folders_below_counts_and_is_named_by_its_place(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for path in (root / "common" / "a" / "b" / "deep.py", root / "common" / "cli" / "ls.py", elsewhere / "own.py"):
        path.parent.mkdir(parents=True)
        path.write_text("1")
    (root / "common" / "cli.py").write_text("2")
    (root / "common" / "a" / "notes.txt").write_text("1")
    one, two = (hashlib.sha256(text).hexdigest()[:12] for text in (b"1", b"2"))
    assert code_fingerprints([root / "common", elsewhere], root) == {
        "common/a/b/deep.py": one,
        "common/cli.py": two,
        str(elsewhere / "own.py"): one,
    }


def test_a_fingerprint_of_files_is_of_all_their_bytes_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"ab")
    second.write_bytes(b"c")
    assert fingerprint_files([first, second]) == hashlib.sha256(b"abc").hexdigest()[:12]
    assert fingerprint_files([second, first]) == hashlib.sha256(b"cab").hexdigest()[:12]
