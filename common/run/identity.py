"""What makes two runs the same run: everything that their results depend on, and nothing else."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.engine import Engine

WITHOUT_EFFECT = (
    "config.data_dir",
    "config.output_dir",
    "config.ckpt_path",
    "config.save_every_n_minutes",
    "config.skip_finished",
    "config.preflight_only",
    "hydra",
    "logger",
    "project",
    "task",
)
"""Keys that do not change the result of the steps that are taken, with any engine; each adds its own."""

LENGTH = 12


def identity_of(tree: Mapping[str, Any], data: Mapping[str, Any], swept: Mapping[str, Any], engine: Engine) -> str:
    """Returns the identity of a subtask.

    Args:
        tree: The settled configuration as plain containers.
        data: What the components say of the data that is used: source and fingerprint.
        swept: The keys that the sweep varies and their values at this point; they count even where the key alone
            would not.
        engine: What runs it.

    Returns:
        Twelve hexadecimal digits.
    """
    facts = {"config": _without(tree, (*WITHOUT_EFFECT, *engine.keys_without_effect)), "data": data, "swept": swept}
    return _digest(json.dumps(facts, sort_keys=True, default=str).encode())


def budget_of(tree: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """Returns the budgets that a configuration sets, by key."""
    found = {budget.key: _select(tree, budget.key) for budget in engine.budgets}
    return {key: value for key, value in found.items() if value is not None}


def is_larger_budget(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Returns whether a budget leaves something to do for a run that finished at another."""
    pairs = [(_size(new.get(key)), _size(old.get(key))) for key in {*new, *old} if new.get(key) != old.get(key)]
    return bool(pairs) and all(math.isnan(after) or math.isnan(before) or after > before for after, before in pairs)


def changed_files(new: Mapping[str, str], old: Mapping[str, str]) -> list[str]:
    """Returns the files that differ between two sets of fingerprints, came or went."""
    return sorted(name for name in {*new, *old} if new.get(name) != old.get(name))


def fingerprint_files(paths: Sequence[Path]) -> str:
    """Returns a fingerprint of the content of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:LENGTH]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:LENGTH]


def _size(budget: Any) -> float:
    """Returns a budget as a number: none is infinite; a duration written as text cannot be compared, and is NaN."""
    if budget is None or budget == -1:
        return math.inf
    return float(budget) if isinstance(budget, int | float) else math.nan


def _select(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree


def _without(tree: Mapping[Any, Any], keys: Sequence[str], path: str = "") -> dict[str, Any]:
    kept = {}
    for name, value in tree.items():
        key = f"{path}.{name}" if path else str(name)
        if key not in keys:
            kept[str(name)] = _without(value, keys, key) if isinstance(value, Mapping) else value
    return kept
