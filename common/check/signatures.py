"""Finds calls that lack an argument, which the registered configurations cannot: they declare every one."""

import inspect
from typing import Any

from common.check.problem import Problem
from common.check.tree import join, nodes, parameters_of, target_of

VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def check_signatures(tree: dict[str, Any]) -> list[Problem]:
    """Returns a problem for each argument that an object needs and is not given; a partial may get it later.

    Args:
        tree: A configuration as plain containers.
    """
    problems = []
    for path, node in nodes(tree):
        target = target_of(node)
        if target is None or node.get("_partial_") or node.get("_zen_partial"):
            continue
        parameters = [parameter for parameter in parameters_of(target).values() if parameter.kind not in VARIADIC]
        for parameter in parameters[len(node.get("_args_") or []) :]:
            if parameter.default is parameter.empty and parameter.name not in node:
                name = f"{target.__module__}.{target.__qualname__}"
                key = join(path, parameter.name)
                problems.append(Problem(key, f"{key} is missing: {name} needs it."))
    return problems
