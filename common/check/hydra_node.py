"""Judges Hydra's own node: a task chooses where subtasks run and how points are chosen, and nothing else of Hydra.

The rest steers the process itself: its environment, its log files, the folders it writes to, what is called beside it.
"""

from collections.abc import Mapping
from typing import Any

from common.check.problem import Problem
from common.utils.text import shown

OPEN_PARTS = ("launcher", "sweeper")

OWN_PARTS = ("overrides", "runtime")
"""What Hydra writes into its node while it composes."""

OWN_KEYS_OF_JOB = ("override_dirname", "config_name", "id", "num")

ALLOWED = "Of Hydra's own settings only hydra.launcher.* and hydra.sweeper.* can be set. Leave it out."


def check_settings(tree: Mapping[str, Any], registered: Mapping[str, Any]) -> list[Problem]:
    """Returns a problem for each part of Hydra's node that is not as Python code registered it.

    Args:
        tree: The node as plain containers, its interpolations unresolved.
        registered: The same without a task; a part that is not in it is not judged.
    """
    return [
        Problem(f"hydra.{key}", f"hydra.{key}{_received(now)} is not allowed. {ALLOWED}")
        for key, now in _changed(tree, registered, "")
    ]


def key_is_open(key: str) -> bool:
    """Returns whether a key of Hydra's own may be given."""
    parts = key.replace("/", ".").split(".")
    return parts[0] != "hydra" or (len(parts) > 1 and parts[1] in OPEN_PARTS)


def _changed(tree: Mapping[str, Any], registered: Mapping[str, Any], path: str) -> list[tuple[str, Any]]:
    changed: list[tuple[str, Any]] = []
    for key in dict.fromkeys([*registered, *tree]):
        now, before = tree.get(key), registered.get(key)
        if (not path and key in (*OPEN_PARTS, *OWN_PARTS)) or (path == "job." and key in OWN_KEYS_OF_JOB):
            continue
        if (key not in registered and not path) or before == "???":  # Hydra's own files fill it in.
            continue
        if isinstance(now, dict) and isinstance(before, dict):
            changed += _changed(now, before, f"{path}{key}.")
        elif now != before:
            changed.append((f"{path}{key}", now))
    return changed


def _received(value: Any) -> str:
    return "" if isinstance(value, dict | list) else f"={shown(value)}"
