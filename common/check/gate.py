"""What is built is what was judged: a configuration is resolved once, and stays as it is until objects are made of it.

A process that another one starts composes the same configuration anew; it gets a fingerprint of what was judged there,
and refuses to build anything else.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from common.check import Declared, Judge, judge_part
from common.check.problem import Problem
from common.errors import ConfigError
from common.utils.hydra import editable, leaves
from common.utils.text import shown

LENGTH = 16

_LATE = re.compile(r"\boutput_dir\b")
"""What interpolations wait for."""


def freeze(config: DictConfig) -> None:
    """Replaces interpolations by their values, in place, but for those that only put the run's folder into a path.

    Args:
        config: A composed configuration; Hydra's current one is its own.

    Raises:
        ConfigError: a value gives another interpolation, which would be resolved later.
    """
    with editable(config):
        _freeze(config, _plain(config))
    refuse_live(_plain(config))


def refuse_live(tree: Any, *, is_late_allowed: bool = True) -> None:
    """Raises if anything in a tree would be resolved later.

    Raises:
        ConfigError: something would.
    """
    for path, value in leaves(tree):
        if isinstance(value, str) and "${" in value and not (is_late_allowed and _LATE.search(value)):
            raise ConfigError(f"{path}={shown(value)}: a value must not give an interpolation that is resolved later.")


def fingerprint(tree: Mapping[Any, Any]) -> str:
    """Returns a fingerprint of a frozen configuration; what loggers are told is no part of it, only which they are.

    Args:
        tree: The configuration as plain containers.
    """
    kept = {key: value for key, value in tree.items() if key not in ("hydra", "logger")}
    kept["logger"] = [(path, value) for path, value in leaves(tree.get("logger")) if path.rpartition(".")[2][:1] == "_"]
    text = repr(sorted((str(key), value) for key, value in kept.items()))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:LENGTH]


def admit(config: DictConfig, declared: Declared) -> None:
    """Judges what is about to be built: the very tree, resolved.

    Args:
        config: A subtask's configuration, its interpolations resolved; Hydra's node is no part of it.
        declared: What Python code declares.

    Raises:
        ConfigError: something is wrong with it.
    """
    tree: Any = OmegaConf.to_container(config, throw_on_missing=False)
    refuse_live(tree, is_late_allowed=False)
    _raise_if_any(Judge(declared).problems(tree))


def admit_from_disk(node: Any, key: str, hint: Any, allowed_targets: tuple[str, ...]) -> dict[str, Any]:
    """Judges a part of a configuration that comes from a file which anybody may have written, and returns it resolved.

    Args:
        node: The part, as it was read.
        key: Where it stood, for error texts.
        hint: What is to be built from it.
        allowed_targets: What the project's runner allows besides the standing list.

    Returns:
        The tree that was judged, to be built as it is.

    Raises:
        ConfigError: it names something that it may not, or cannot be built.
    """
    try:
        tree: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig | ListConfig) else node
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"{key} cannot be read: {str(error).splitlines()[0]}") from error
    refuse_live({key: tree}, is_late_allowed=False)
    verdict = judge_part(key, tree, Declared(frozenset({key}), allowed_targets=allowed_targets, hints={key: hint}))
    _raise_if_any(verdict.targets or verdict.unknown + verdict.others)
    return dict(tree)


def _plain(config: DictConfig) -> dict[Any, Any]:
    tree: Any = OmegaConf.to_container(config)
    return {key: value for key, value in tree.items() if key != "hydra"}


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise ConfigError("\n".join(problem.text for problem in problems))


def _freeze(node: Any, plain: Any) -> None:
    """Replaces interpolations below a node; `plain` is the same in plain containers, unresolved."""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if isinstance(value, dict | list):
            _freeze(node[key], value)
        elif isinstance(value, str) and "${" in value and not _LATE.search(value):
            found = node[key]
            node[key] = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
