"""Each attack through each door: whatever is refused in one place is refused in all places, in every item of a list."""

from collections.abc import Callable
from typing import Any

import pytest

from common.check import Declared, Judge, check_hydra
from common.check.annotations import admits, describe_hint, hints_of
from common.check.keys import check_keys, declared_keys
from common.check.signatures import check_signatures
from common.check.targets import check_targets, is_allowed
from common.check.tree import join, nodes, resolve, target_of
from common.check.values import check_values

HARMLESS = {"_target_": "torch.nn.ReLU"}

ATTACKS: dict[str, dict[str, Any]] = {
    "a target": {"_target_": "os.makedirs"},
    "another target behind hydra-zen's": {"_target_": "hydra_zen.funcs.zen_processing", "_zen_target": "os.makedirs"},
    "a wrapper": HARMLESS | {"_zen_wrappers": "os.makedirs"},
    "a wrapper in a list": HARMLESS | {"_zen_wrappers": ["os.makedirs"]},
    "a getter's path": {"_target_": "hydra_zen.funcs.get_obj", "path": "os.makedirs"},
    "the target of a partial": {"_target_": "os.makedirs", "_partial_": True},
}  # fmt: skip

DOORS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "a group": lambda node: {"callbacks": node},
    "a value": lambda node: {"callbacks": {"x": HARMLESS, "y": node}},
    "the first of a list": lambda node: {"callbacks": {"x": [node, HARMLESS]}},
    "the middle of a list": lambda node: {"callbacks": {"x": [HARMLESS, node, HARMLESS]}},
    "the last of a list": lambda node: {"callbacks": {"x": [HARMLESS, 1, node]}},
    "a list in a list": lambda node: {"callbacks": {"x": [[HARMLESS], [1, [node]]]}},
    "an argument of something harmless": lambda node: {
        "callbacks": {"x": {"_target_": "torch.nn.ModuleDict", "modules": {"y": node}}}
    },
    "the second key at the root": lambda node: {"config": {}, "callbacks": {}, "free": node},
}

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


@every_attack
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_an_attack_is_refused_at_every_door(attack: dict[str, Any], door: Callable[[Any], dict[str, Any]]) -> None:
    declared = Declared(frozenset({"config", "callbacks", "free"}))
    root = {"config": {}, "callbacks": {}, "free": {}}
    problems = Judge(declared).problems(root | door(attack))
    assert len(problems) == 1
    assert "is not an object that a configuration may name" in problems[0].text
    assert "'os." in problems[0].text
    assert Judge(declared).problems(root | door(HARMLESS)) == []


REGISTERED = Declared(
    frozenset(),
    target_keys={"torch.nn.ReLU": frozenset({"_target_", "inplace"})},
    hydra={
        "mode": "MULTIRUN",
        "job": {"name": "x", "env_set": {}},
        "callbacks": {},
        "searchpath": [],
        "verbose": False,
    },
    plugins={"launcher": {"torch.nn.ReLU": "local"}, "sweeper": {"torch.nn.ReLU": "grid"}},
)


def hydra_node(**parts: Any) -> dict[str, Any]:
    return {**REGISTERED.hydra, "launcher": HARMLESS, "sweeper": HARMLESS, **parts}


def keys_of_hydra(**parts: Any) -> list[str]:
    return [problem.key for problem in check_hydra(hydra_node(**parts), hydra_node(**parts), REGISTERED)]


@every_attack
@pytest.mark.parametrize("part", ["launcher", "sweeper"])
def test_an_attack_is_refused_in_the_open_parts_of_hydra_s_own_node(attack: dict[str, Any], part: str) -> None:
    (key,) = keys_of_hydra(**{part: HARMLESS | {"inplace": [HARMLESS, attack]}})
    assert key.startswith(f"hydra.{part}.inplace[1]")
    (key,) = keys_of_hydra(**{part: attack})
    assert key.startswith(f"hydra.{part}")
    assert keys_of_hydra() == []


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"callbacks": {"x": HARMLESS}}, "hydra.callbacks.x"),
        ({"callbacks": None}, "hydra.callbacks"),
        ({"job": {"name": "x", "env_set": {"A": "b"}}}, "hydra.job.env_set.A"),
        ({"job": {"name": "y", "env_set": {}}}, "hydra.job.name"),
        ({"searchpath": ["file:///x"]}, "hydra.searchpath"),
        ({"verbose": True}, "hydra.verbose"),
        ({"mode": "RUN"}, "hydra.mode"),
    ],
    ids=str,
)
def test_every_other_part_of_hydra_s_own_node_is_closed(parts: dict[str, Any], key: str) -> None:
    assert keys_of_hydra(**parts) == [key]


def test_a_slip_in_hydra_s_own_node_is_told_with_what_is_declared() -> None:
    node = hydra_node(launcher=HARMLESS | {"inplac": True})
    (problem,) = check_hydra(node, node, REGISTERED)
    assert problem.key == "hydra.launcher.inplac"
    assert "Did you mean hydra.launcher.inplace?" in problem.text


def test_nothing_but_names_is_judged_where_a_name_is_refused() -> None:
    config = {"x": {"_target_": "os.makedirs"}, "undeclared": 1, "hydra": {"_target_": "os.makedirs"}}
    assert [problem.key for problem in Judge(Declared(frozenset({"x"}))).problems(config)] == ["x._target_"]


def test_hydra_s_own_node_is_not_judged_with_the_rest() -> None:
    assert Judge(Declared(frozenset())).problems({"hydra": {"_target_": "os.makedirs"}}) == []


def test_what_a_runner_declares_is_allowed() -> None:
    config, root = {"x": {"_target_": "collections.Counter"}}, frozenset({"x"})
    assert len(Judge(Declared(root)).problems(config)) == 1
    for declared in (
        Declared(root, allowed_targets=("collections",)),
        Declared(root, target_keys={"collections.Counter": frozenset()}),
    ):
        assert Judge(declared).problems(config) == []


def test_a_part_is_judged_anew_when_it_changed_and_only_then() -> None:
    judge = Judge(Declared(frozenset({"x", "y"}), hints={"x": int}))
    assert judge.problems({"x": 1, "y": {}}) == []
    assert [problem.key for problem in judge.problems({"x": True, "y": {}})] == ["x"]  # 1 == True.
    assert judge.problems({"x": 1, "y": {}}) == []
    assert [problem.key for problem in judge.problems({"x": 1, "y": {"_target_": "os.x"}})] == ["y._target_"]


OTHERS = [
    "torch.nn.Module.load_state_dict",
    "torch.nn.Module.to",
    "torch.optim.Optimizer.load_state_dict",
    "torch.utils.data.DataLoader.__iter__",
    "torchmetrics.Metric.load_state_dict",
    "hydra_zen.structured_configs.ZenExtras.to_config",
]


@pytest.mark.parametrize("name", OTHERS)
def test_another_package_s_method_is_refused(name: str) -> None:
    assert not is_allowed(name)


def test_what_does_not_come_from_a_project_s_own_script_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    from tests.conftest import MNIST_PROJECT, REPOSITORY

    main = ModuleType("__main__")
    exec("class Mine: ...\ndef mine(): ...", vars(main))  # noqa: S102  # As a script defines them.
    monkeypatch.setitem(sys.modules, "__main__", main)
    for script, is_ours in ((MNIST_PROJECT / "train.py", True), (REPOSITORY / "setup.py", False), (None, False)):
        vars(main)["__file__"] = None if script is None else str(script)
        assert is_allowed("__main__.Mine") is is_ours
        assert not is_allowed("__main__.mine")


def test_a_target_that_no_store_registered_is_told_with_its_place() -> None:
    problems = check_targets(
        {"a": [{"_target_": "os.x"}, {"b": {"_target_": "os.y"}}]}, registered={"os.y": frozenset()}, widened=()
    )
    assert [problem.key for problem in problems] == ["a[0]._target_"]


class Needs:
    """Takes two arguments without a default, one with, and any others."""

    def __init__(self, first: int, second: int, third: int = 3, *rest: int, fourth: int, **others: int) -> None: ...


NEEDS = f"{__name__}.Needs"


@pytest.mark.parametrize(
    ("node", "missing"),
    [
        ({}, ["first", "second", "fourth"]),
        ({"second": 1, "fourth": 1}, ["first"]),
        ({"_args_": [1], "fourth": 1}, ["second"]),
        ({"_args_": [1, 2], "fourth": 1}, []),
        ({"_args_": [1, 2]}, ["fourth"]),
        ({"first": 1, "second": 2, "fourth": None}, []),
        ({"_partial_": True}, []),
        ({"_zen_partial": True}, []),
        ({"_partial_": False}, ["first", "second", "fourth"]),
    ],
    ids=str,
)
def test_each_argument_that_a_call_lacks_is_told(node: dict[str, Any], missing: list[str]) -> None:
    problems = check_signatures({"a": [1, {"x": {"_target_": NEEDS} | node}]})
    assert [problem.key for problem in problems] == [f"a[1].x.{name}" for name in missing]
    assert [problem.text for problem in problems] == [
        f"a[1].x.{name} is missing: {NEEDS} needs it." for name in missing
    ]


def test_keys_of_what_takes_any_are_free_unless_it_is_registered() -> None:
    node = {"_target_": NEEDS, "anything": 1}
    assert declared_keys(node, {}) is None
    assert declared_keys(node, {NEEDS: frozenset({"mine"})}) == {"first", "second", "third", "fourth", "mine"}
    assert declared_keys({"_target_": "builtins.dict"}, {"builtins.dict": frozenset({"x"})}) is None
    assert [problem.key for problem in check_keys({"a": node}, frozenset({"a"}), {NEEDS: frozenset()})] == [
        "a.anything"
    ]


def test_the_keys_that_steer_hydra_are_declared_everywhere() -> None:
    keys = (
        "_target_",
        "_partial_",
        "_convert_",
        "_recursive_",
        "_args_",
        "_zen_target",
        "_zen_partial",
        "_zen_exclude",
    )
    node = dict.fromkeys(keys) | {"_target_": "torch.nn.ReLU"}
    assert check_keys({"a": node}, frozenset({"a"}), {}) == []


def test_nodes_are_found_outermost_first_with_their_paths() -> None:
    tree = {"a": {"b": [1, {"c": 2}]}, "d": [[{}]]}
    assert list(nodes(tree)) == [
        ("", tree),
        ("a", tree["a"]),
        ("a.b[1]", {"c": 2}),
        ("d[0][0]", {}),
    ]
    assert list(nodes([{}], "x")) == [("x[0]", {})]
    assert join("", 3) == "3"


def test_names_lead_to_objects_or_nowhere() -> None:
    assert resolve("collections.abc.Mapping.get").__qualname__ == "Mapping.get"
    for name in ("collections.nothing", "nothing.at.all", "collections..abc", "", "collections.abc.Mapping.nothing.x"):
        assert resolve(name) is None, name
    assert target_of({"_target_": "collections.Counter"}).__name__ == "Counter"  # type: ignore[union-attr]
    behind = {"_target_": "collections.Counter", "_zen_target": "collections.OrderedDict"}
    assert target_of(behind).__name__ == "OrderedDict"  # type: ignore[union-attr]
    assert target_of({"_target_": 3}) is None
    assert target_of({}) is None
    assert hints_of(Needs)["first"] is int
    assert hints_of(lambda: None) == {}


@pytest.mark.parametrize(
    ("hint", "value", "is_admitted"),
    [
        (list[int], [1, 2, 3], True),
        (list[int], [1, 2, "3"], False),
        (list[int], ["1", 2, 3], False),
        (list[list[int]], [[1], [2, "x"]], False),
        (tuple[int, float], [1, 0.5], True),
        (tuple[int, float], [1, "x"], False),
        (float, 1, True),
        (int, 1.0, False),
        (int | None, None, True),
        (int, None, False),
    ],
    ids=str,
)
def test_every_item_of_a_list_is_judged(hint: Any, value: Any, is_admitted: bool) -> None:
    assert admits(hint, value) is is_admitted


def test_an_annotation_is_told_in_words() -> None:
    assert describe_hint(tuple[int, ...]) == "tuple[int, ...]"
    assert describe_hint(list[int | None]) == "list[int or null]"
    assert describe_hint(Any) == "Any"


class Typed:
    """Takes a number and a list of them."""

    def __init__(self, number: int, numbers: list[int], other: Any = None) -> None: ...


def test_a_value_is_told_with_its_place_and_others_are_left_alone() -> None:
    node = {"_target_": f"{__name__}.Typed", "number": "1", "numbers": [1, "x"], "undeclared": 3, "other": "???"}
    problems = check_values(
        {"a": [node, {"_target_": f"{__name__}.Typed", "number": 1, "numbers": [1, 2], "other": HARMLESS}]}
    )
    assert [(problem.key, problem.text) for problem in problems] == [
        ("a[0].other", "a[0].other is missing: give it in the task file, or as a[0].other=<value>."),
        ("a[0].number", "a[0].number='1' is not allowed: it must be int."),
        ("a[0].numbers", "a[0].numbers=[1, 'x'] is not allowed: it must be list[int]."),
    ]
