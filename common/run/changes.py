"""What a configuration changes of its task's defaults."""

from collections.abc import Mapping, Sequence
from typing import Any

RUNS_OWN_KEYS = ("hydra", "config.output_dir", "config.ckpt_path")
"""Keys that say where and how a run is launched, not what it computes."""


def changes_between(defaults: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the keys in which a configuration differs from its task's defaults.

    Args:
        defaults: The task as it is without overrides, in plain containers.
        tree: The configuration, in plain containers.

    Returns:
        By dotted key `default` and `value`; the one that has no such key is left out. A key that is null on one side
        and missing on the other makes no difference.
    """
    before, after = flattened(defaults), flattened(tree)
    changed: dict[str, dict[str, Any]] = {}
    for key in dict.fromkeys([*before, *after]):
        sides = {name: side[key] for name, side in (("default", before), ("value", after)) if key in side}
        if before.get(key) != after.get(key) and not is_below(key, RUNS_OWN_KEYS):
            changed[key] = sides
    return changed


def effective_overrides(overrides: Sequence[str], changes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the overrides that change something, as key and value.

    Args:
        overrides: As they were typed, for example `["task=fnn", "litmodule/optimizer=sgd", "config.seed=1"]`.
        changes: What they change together; see `changes_between`.
    """
    effective = {}
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        path = key.lstrip("~").replace("/", ".").partition("@")[0]
        if any(is_below(changed, (path,)) for changed in changes):
            effective[key] = changes.get(path, {}).get("value", text)
    return effective


def flattened(tree: Mapping[Any, Any], path: str = "") -> dict[str, Any]:
    """Returns the values of a nested mapping by dotted key; lists and empty mappings count as values."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, key)
        else:
            flat[key] = value
    return flat


def is_below(key: str, keys: tuple[str, ...]) -> bool:
    """Returns whether a dotted key is one of some keys, or lies below one."""
    return any(key == other or key.startswith(f"{other}.") for other in keys)
