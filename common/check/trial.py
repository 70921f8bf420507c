"""Builds a part of a configuration for trial: some values only a constructor refuses."""

import re
import warnings
from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from common.check.problem import Problem, without_error_names
from common.errors import ConfigError
from common.utils.hydra import leaves
from common.utils.text import short, shown

MOST_REMEMBERED = 1000


def tried(build: Callable[..., Any]) -> Callable[[str, Any], list[Problem]]:
    """Makes a check of what builds something: what it raises is a problem. Parts that are alike are tried once.

    Args:
        build: Builds something from a node, and throws it away.

    Returns:
        A function of the node's dotted key and the node.
    """
    seen: dict[tuple[str, str], list[Problem]] = {}

    def check(key: str, node: Any) -> list[Problem]:
        name = (key, repr(node))
        if name not in seen:
            if len(seen) >= MOST_REMEMBERED:
                seen.clear()
            seen[name] = _try(build, key, node)
        return seen[name]

    return check


def _try(build: Callable[..., Any], key: str, node: Any) -> list[Problem]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(node)
    except (InstantiationException, OmegaConfBaseException) as error:
        return [_problem(key, node, error.__cause__ or error)]
    except Exception as error:  # Whatever a constructor may raise.
        return [_problem(key, node, error)]
    return []


def _problem(key: str, node: Any, error: BaseException) -> Problem:
    """Returns what to tell, with the value that the error seems to be about."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = short(without_error_names(" ".join(lines)) or "it says no more", 300).rstrip(".")
    if isinstance(error, ConfigError):
        return Problem(key, f"{said}.")
    blamed = _blamed(key, node, said)
    if blamed is None:
        return Problem(key, f"{key} cannot be built: {said}.", said)
    place, value = blamed
    return Problem(
        place, f"{place}={shown(value)} is not allowed: {said}.", f"{key}: {re.sub(r'[-+.0-9e]+', '#', said)}"
    )


def _blamed(key: str, node: Any, said: str) -> tuple[str, Any] | None:
    """Returns the key and the value that an error's text names, by its name or by what it is."""
    given = [(path, value) for path, value in leaves(node, key) if not path.rpartition(".")[2].startswith("_")]
    words = set(re.findall(r"[A-Za-z_]\w*", said))
    named = [one for one in given if re.sub(r"(\[\d+\])+$", "", one[0]).rpartition(".")[2] in words]
    values = [one for one in given if _names(said, one[1])]
    both = [one for one in named if one in values]
    found = both or named or values
    return found[0] if found else None


def _names(said: str, value: Any) -> bool:
    """Returns whether a text has a value in it."""
    if value is None or isinstance(value, bool) or value == "":
        return False
    return re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w]|\.\d)", said) is not None
