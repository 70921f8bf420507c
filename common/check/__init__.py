"""Judges a composed configuration before anything is built from it: its targets, its keys, its values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from common.check.hydra_node import OPEN_PARTS, check_settings
from common.check.keys import check_keys
from common.check.problem import Problem
from common.check.signatures import check_signatures
from common.check.targets import check_targets
from common.check.values import check_values
from common.utils.text import shown

Keys = Mapping[str, frozenset[str]]


@dataclass
class Declared:
    """What Python code declares, and a configuration may therefore contain.

    Attributes:
        root_keys: The top-level keys that a subtask needs: the parameters of `run_subtask`.
        target_keys: For each registered `_target_`, the keys that its registered configurations declare.
        allowed_targets: The modules and objects that the runner allows besides the standing list.
        names: Further top-level keys, for use in interpolations, and their only value.
        hints: What the top-level keys are to be: the annotations of `run_subtask`.
        hydra: Hydra's own settings as they are registered, as plain containers.
        plugins: The registered launchers and sweepers: for `launcher` and `sweeper` the targets, each with its name.
    """

    root_keys: frozenset[str]
    target_keys: Keys = field(default_factory=dict)
    allowed_targets: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    hydra: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass
class Verdict:
    """What is wrong with the part of a configuration below one top-level key.

    Attributes:
        part: What was judged.
        targets: What it names and may not. Then nothing else of it is judged.
        unknown: Its keys that nothing declares, with the nearest in this part.
        others: What else is wrong.
    """

    part: Any
    targets: list[Problem]
    unknown: list[Problem]
    others: list[Problem]


class Judge:
    """Judges configurations; of one that is like the last but for a part, that part alone.

    Args:
        declared: What Python code declares.
    """

    def __init__(self, declared: Declared) -> None:
        self.declared = declared
        self._last: dict[Any, Verdict] = {}

    def problems(self, config: Mapping[Any, Any]) -> list[Problem]:
        """Returns everything that is wrong with a configuration.

        Args:
            config: A composed configuration as plain containers, its interpolations resolved; its node `hydra` is not
                judged here.
        """
        declared = self.declared
        named = {key: config[key] for key in declared.names if key in config}
        tree = {key: value for key, value in config.items() if key not in named and key != "hydra"}
        verdicts = [self._verdict(key, value) for key, value in tree.items()]
        refused = [problem for verdict in verdicts for problem in verdict.targets]
        if refused:  # Nothing more may be imported on behalf of this configuration.
            return refused
        problems = check_root(tree, named, declared)
        if any(verdict.unknown for verdict in verdicts):  # What was meant may stand in another part.
            problems += check_keys(tree, declared.root_keys, declared.target_keys)
        return problems + [problem for verdict in verdicts for problem in verdict.others]

    def _verdict(self, key: Any, value: Any) -> Verdict:
        last = self._last.get(key)
        if last is None or last.part != value or repr(last.part) != repr(value):  # 1 is True, and 1.0.
            last = self._last[key] = judge_part(key, value, self.declared)
        return last


def judge_part(key: Any, value: Any, declared: Declared) -> Verdict:
    """Judges the part of a configuration below one top-level key."""
    tree = {key: value}
    refused = check_targets(tree, declared.target_keys, declared.allowed_targets)
    if refused:
        return Verdict(value, refused, [], [])
    unknown = check_keys(tree, declared.root_keys, declared.target_keys)
    return Verdict(value, [], unknown, _check_values(tree, unknown, declared.hints))


def check_root(tree: Mapping[Any, Any], named: Mapping[str, Any], declared: Declared) -> list[Problem]:
    """Returns what is wrong at the top of a configuration: what was not chosen, and names that were changed."""
    problems = [
        Problem(key, f"{key} is not chosen. Add `- /{key}: <name>` to the defaults of the task file.")
        for key in sorted(declared.root_keys - tree.keys())
    ]
    return problems + [
        Problem(
            key, f"{key}={shown(value)}: it is the name of the {key} that runs, {declared.names[key]!r}. Leave it out."
        )
        for key, value in named.items()
        if value != declared.names[key]
    ]


def check_hydra(tree: Mapping[str, Any], settings: Mapping[str, Any], declared: Declared) -> list[Problem]:
    """Returns everything that is wrong with Hydra's own node.

    Args:
        tree: The content of the key `hydra` as plain containers, its interpolations resolved.
        settings: The same, unresolved.
        declared: What Python code declares.
    """
    problems = check_settings(settings, declared.hydra) + check_plugins(tree, declared)
    if problems:
        return problems
    built = {"hydra": {part: tree.get(part, {}) for part in OPEN_PARTS}}
    refused = check_targets(built, declared.target_keys, declared.allowed_targets)
    unknown = check_keys(built, frozenset({"hydra"}), declared.target_keys)
    return refused or unknown + _check_values(built, unknown, {})


def check_plugins(tree: Mapping[str, Any], declared: Declared) -> list[Problem]:
    """Returns a problem if the launcher or the sweeper is none of those that are registered."""
    problems = []
    for part, names in declared.plugins.items():
        node = tree.get(part)
        target = node.get("_target_") if isinstance(node, dict) else None
        if not isinstance(target, str) or target not in names:
            received = f"hydra.{part}={shown(node)}" if target is None else f"hydra.{part}._target_={shown(target)}"
            allowed = " or ".join(f"hydra/{part}={name}" for name in names.values())
            problems.append(Problem(f"hydra.{part}", f"{received} is not allowed: choose {allowed}."))
    return problems


def _check_values(tree: dict[Any, Any], unknown: list[Problem], hints: Mapping[str, Any]) -> list[Problem]:
    """Returns what is wrong with a tree beside keys that nothing declares."""
    lacking = check_signatures(tree)
    told = {problem.key.rpartition(".")[0] for problem in unknown + lacking}  # A config refuses them again.
    tops = {problem.key for problem in unknown}
    values = check_values({key: value for key, value in tree.items() if str(key) not in tops}, hints)
    return lacking + [problem for problem in values if problem.key not in told]
