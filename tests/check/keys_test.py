"""A key that nothing declares is an error at any depth, with the nearest declared key."""

import pytest

from common.check.keys import check_keys

OPTIMIZER = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1}
REGISTERED = {"torch.optim.AdamW": frozenset(OPTIMIZER), "builtins.dict": frozenset({"_target_"})}
ROOTS = frozenset({"optimizer", "config", "callbacks"})


@pytest.mark.parametrize(
    ("tree", "key", "meant"),
    [
        ({"optimiser": {}}, "optimiser", "optimizer"),
        ({"optimizer": OPTIMIZER | {"lrr": 1}}, "optimizer.lrr", "optimizer.lr"),
        ({"optimizer": OPTIMIZER | {"wieght_decay": 1}}, "optimizer.wieght_decay", "optimizer.weight_decay"),
        ({"config": {"free": OPTIMIZER | {"bets": 1}}}, "config.free.bets", "config.free.betas"),
        ({"config": [[OPTIMIZER | {"betass": 1}]]}, "config[0][0].betass", "config[0][0].betas"),
    ],
)
def test_an_unknown_key_is_found_with_the_nearest(tree: dict[str, object], key: str, meant: str) -> None:
    (problem,) = check_keys(tree, ROOTS, REGISTERED)
    assert problem.key == key
    assert problem.text == f"No configuration declares the key {key}. Did you mean {meant}?"


def test_a_key_that_is_near_nothing_gets_no_hint() -> None:
    (problem,) = check_keys({"zzzzzz": 1}, frozenset({"config"}), {})
    assert problem.text == "No configuration declares the key zzzzzz. Received: 1."


@pytest.mark.parametrize(
    "tree",
    [
        {"config": {"anything": {"at": "all"}}},
        {"callbacks": {"_target_": "builtins.dict", "mine": {"free": 1}}},
        {"optimizer": OPTIMIZER | {"_convert_": "partial", "betas": [0.9, 0.99]}},
        {"config": {0: 2, 4: {"_target_": "builtins.dict", "x": {True: 1}}}},
    ],
    ids=["a mapping", "a built mapping", "declared", "keys that are no text"],
)
def test_a_key_that_is_declared_or_free_passes(tree: dict[str, object]) -> None:
    assert check_keys(tree, ROOTS, REGISTERED) == []


def test_a_task_file_without_its_first_line_is_recognised() -> None:
    (problem,) = check_keys({"task": {"config": {}}}, ROOTS, {})
    assert "# @package _global_" in problem.text
