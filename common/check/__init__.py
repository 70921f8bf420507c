"""Judges a composed configuration before anything is built from it: its targets, its keys, its values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from common.check.keys import check_keys
from common.check.problem import Problem
from common.check.signatures import check_signatures
from common.check.targets import check_logging, check_targets
from common.check.values import check_values


@dataclass
class Declared:
    """What Python code declares, and a configuration may therefore contain.

    Attributes:
        root_keys: The top-level keys that a subtask needs: the parameters of `run_subtask`.
        target_keys: For each registered `_target_`, the keys that its registered configurations declare.
        allowed_targets: The modules and objects that the runner allows besides the standing list.
        names: Further top-level keys, for use in interpolations, and their only value.
    """

    root_keys: frozenset[str]
    target_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    allowed_targets: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)


def check_config(config: DictConfig, declared: Declared) -> list[Problem]:
    """Returns everything that is wrong with a composed configuration.

    Args:
        config: A configuration as Hydra composed it, its interpolations resolved; its node `hydra` is not judged here.
        declared: What Python code declares.
    """
    tree = _plain(config)
    tree.pop("hydra", None)
    named = {key: tree.pop(key) for key in declared.names if key in tree}
    problems = check_targets(tree, registered=declared.target_keys, widened=declared.allowed_targets)
    if problems:  # Nothing more may be imported on behalf of this configuration.
        return problems
    return check_root(tree, named, declared) + _check_keys_and_values(tree, declared.root_keys, declared)


def check_root(tree: Mapping[str, Any], named: Mapping[str, Any], declared: Declared) -> list[Problem]:
    """Returns what is wrong at the top of a configuration: what was not chosen, and names that were changed."""
    problems = [
        Problem(key, f"{key} is not chosen. Add `- /{key}: <name>` to the defaults of the task file.")
        for key in sorted(declared.root_keys - tree.keys())
    ]
    return problems + [
        Problem(key, f"{key}={value!r}: it is the name of the {key} that runs, {declared.names[key]!r}. Leave it out.")
        for key, value in named.items()
        if value != declared.names[key]
    ]


def check_hydra(config: DictConfig, declared: Declared) -> list[Problem]:
    """Returns everything that is wrong with Hydra's own node.

    Hydra itself refuses unknown keys in the parts that it declares; what it would build from names is judged here.

    Args:
        config: The content of the key `hydra`.
        declared: What Python code declares.
    """
    tree = {"hydra": _plain(config)}
    problems = check_targets(tree, registered=declared.target_keys, widened=declared.allowed_targets)
    for part in ("job_logging", "hydra_logging"):
        problems += check_logging(tree["hydra"][part], f"hydra.{part}")
    if problems:
        return problems
    built = {"hydra": {part: tree["hydra"][part] for part in ("launcher", "sweeper")}}
    return _check_keys_and_values(built, frozenset({"hydra"}), declared)


def _check_keys_and_values(tree: dict[str, Any], root_keys: frozenset[str], declared: Declared) -> list[Problem]:
    unknown = check_keys(tree, root_keys, declared.target_keys)
    unknown += check_signatures(tree)
    told = {problem.key.rpartition(".")[0] for problem in unknown}  # Their configs refuse the same keys once more.
    return unknown + [problem for problem in check_values(tree) if problem.key not in told]


def _plain(config: DictConfig) -> dict[str, Any]:
    tree: dict[str, Any] = OmegaConf.to_container(config, throw_on_missing=False)  # type: ignore[assignment]
    return tree
