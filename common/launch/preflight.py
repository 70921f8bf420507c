"""Checks a whole command before any of it starts: every point's configuration is composed and judged."""

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from common.check import Declared, check_config, check_hydra
from common.check.problem import Problem
from common.check.tree import nodes
from common.errors import ConfigError
from common.launch.sweep import expand_grid, parse_overrides
from common.utils.hydra import origins, resolve
from common.utils.misc import nearest
from common.utils.runner import get_absolute_project_path, get_task_name


def check_command(declared: Declared, arguments: list[str]) -> None:
    """Composes and checks every point of a command; commands that only show something are let through.

    Args:
        declared: What Python code declares, and a configuration may therefore contain.
        arguments: The command line, without the program's name.

    Raises:
        ConfigError: something is wrong; all of it is listed.
    """
    command = get_args_parser().parse_args(arguments)
    if command.help or command.hydra_help or command.cfg or command.info or command.shell_completion:
        return
    _check_header()
    points = expand_grid(command.overrides)
    points_by_problem: dict[Problem, list[list[str]]] = {}
    for point, config in zip(points, _composed(points), strict=True):
        origin_of = origins(config)
        resolve(config)
        problems = check_hydra(config.hydra, declared) or check_config(config, declared)
        keys = {problem.key for problem in problems}
        for problem in problems:
            if origin_of.get(problem.key) not in keys:  # Otherwise it is told at its origin.
                points_by_problem.setdefault(problem, []).append(point)
    if points_by_problem:
        raise ConfigError(_describe(points_by_problem, len(points), command.overrides))


def declared_by(run_subtask: Callable[..., Any], store: ZenStore, allowed_targets: tuple[str, ...]) -> Declared:
    """Returns what a runner and its registered configurations declare.

    Args:
        run_subtask: Its parameters name the top-level keys.
        store: The registered configurations.
        allowed_targets: Modules and objects that may be named besides the standing list.
    """
    target_keys: dict[str, frozenset[str]] = {}
    for entry in store:
        node: Any = entry["node"]
        tree = OmegaConf.to_container(node if isinstance(node, DictConfig) else OmegaConf.create(node))
        for _, mapping in nodes(tree):
            target = mapping.get("_target_")
            if isinstance(target, str):
                target_keys[target] = target_keys.get(target, frozenset()) | frozenset(mapping)
    return Declared(
        root_keys=frozenset(inspect.signature(run_subtask).parameters),
        target_keys=target_keys,
        allowed_targets=allowed_targets,
    )


def _check_header() -> None:
    """Checks that the task file sets keys at the top.

    Raises:
        ConfigError: it would set them below the key `task`.
    """
    task_file = get_absolute_project_path() / "task" / f"{get_task_name()}.yaml"
    if re.search(r"^#\s*@package\s+_global_\s*$", task_file.read_text(), re.MULTILINE) is None:
        raise ConfigError(f"{task_file}: its first line must be '# @package _global_'.")


def _composed(points: list[list[str]]) -> Iterable[DictConfig]:
    """Yields each point's configuration.

    Raises:
        ConfigError: a YAML file cannot be read.
    """
    with initialize_config_dir(
        config_dir=str(get_absolute_project_path()), job_name=get_task_name(), version_base="1.3"
    ):
        loader = GlobalHydra.instance().config_loader()
        for point in points:
            overrides = [_forced(override, loader) for override in parse_overrides(point)]
            try:
                config = compose(config_name="config", overrides=overrides, return_hydra_config=True)
            except yaml.YAMLError as error:
                raise ConfigError(_describe_yaml_error(error)) from error
            except ConfigCompositionException as error:
                raise ConfigError(_describe_composition_error(error)) from error
            yield config


def _forced(override: Override, loader: ConfigLoader) -> str:
    """Returns an override as one that composes even where its key does not exist, so that one check judges all keys."""
    line = override.input_line
    assert line is not None
    is_group = bool(loader.get_group_options(override.key_or_group))
    return line if is_group or override.is_delete() else "++" + line.lstrip("+")


def _describe_yaml_error(error: yaml.YAMLError) -> str:
    mark: Any = getattr(error, "problem_mark", None)
    place = f"{mark.name}, line {mark.line + 1}" if mark is not None else "a task file"
    problem: Any = getattr(error, "problem", None)
    return f"{place} is not valid YAML: {problem or error}"


def _describe_composition_error(error: ConfigCompositionException) -> str:
    """Returns Hydra's text or, for a key that its own node does not have, ours with the nearest key."""
    cause = error.__cause__
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError) or not isinstance(cause.parent_node, DictConfig):
        return str(error).partition("\nConfig search path")[0] + (f"\n{cause}" if cause else "")
    parent = str(cause.full_key).rpartition(".")[0]
    meant = nearest(str(cause.full_key), [f"{parent}.{key}" for key in map(str, cause.parent_node)])
    return f"No configuration declares the key {cause.full_key}." + (f" Did you mean {meant}?" if meant else "")


def _describe(points_by_problem: dict[Problem, list[list[str]]], num_points: int, overrides: list[str]) -> str:
    """Returns all problems as one text: each once, with the place it was set in and the points that have it."""
    lines = []
    for problem, points in points_by_problem.items():
        lines.append(problem.text + _place_of(problem.key, overrides))
        if len(points) < num_points:
            varying = (" ".join(override for override in point if override not in overrides) for point in points)
            lines += [f"  at the point {point}" for point in varying]
    return "\n".join(lines)


def _place_of(key: str, overrides: list[str]) -> str:
    """Returns where a key was set, if it was set."""
    given = [override.key_or_group for override in parse_overrides(overrides)]
    if any(name == key or name.startswith(f"{key}.") for name in given):
        return " (Set on the command line.)"
    task_file = get_absolute_project_path() / "task" / f"{get_task_name()}.yaml"
    is_set = "[" not in key and OmegaConf.select(OmegaConf.load(task_file), key, throw_on_missing=False) is not None
    return f" (Set in {task_file}.)" if is_set else ""
