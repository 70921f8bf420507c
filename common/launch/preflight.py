"""Checks a whole command before any of it starts: every point's configuration is composed and judged."""

import functools
import inspect
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from common.check import Declared, check_config, check_hydra
from common.check.problem import Problem
from common.check.tree import nodes
from common.check.tree import resolve as resolve_target
from common.config import Device
from common.errors import ConfigError
from common.launch.composing import CONFIG_NAME, CachingConfigLoader
from common.launch.resources import LocalResources, check_gpus, count_ranks_per_node, granted
from common.launch.role import folder_of_job, is_replay, refuse_foreign_rank
from common.launch.sweep.optuna import search_of
from common.launch.sweep.search import Search, parse_overrides, text_of
from common.utils.hydra import editable, hydra_config, origins, resolve
from common.utils.misc import nearest
from common.utils.runner import get_absolute_project_path, get_project_name, get_task_name

OURS_INSTEAD = {
    "submitit_slurm": "hydra/launcher=slurm, which takes the same fields",
    "submitit_local": "hydra/launcher=local",
}
"""The launchers of hydra-submitit-launcher, which Hydra finds, and what to write instead."""

CheckSubtask = Callable[..., list[Problem]]
"""Returns what only the engine can see: `BaseTaskRunner.check_subtask`."""


def check_command(
    loader: CachingConfigLoader, declared: Declared, check_subtask: CheckSubtask, overrides: list[str]
) -> bool:
    """Composes and checks every point of a command.

    Args:
        loader: Composes configurations.
        declared: What Python code declares, and a configuration may therefore contain.
        check_subtask: Looks deeper; is told whether the command is a plain run, or a sweep or a mere check.
        overrides: The command's.

    Returns:
        Whether the command is to be carried out.

    Raises:
        ConfigError: something is wrong; all of it is listed.
    """
    refuse_foreign_rank()
    _check_header()
    started = time.monotonic()
    with _described_errors():
        fixed = [text_of(one) for one in parse_overrides(overrides) if not one.is_sweep_override()]
        base = loader.load_configuration(
            config_name=CONFIG_NAME, overrides=_forced(fixed, loader), run_mode=RunMode.RUN
        )
        resolve(base)
        hydra_problems = check_hydra(base.hydra, declared) or _refused_launcher(base)
        if any(problem.key.startswith("hydra.sweeper") for problem in hydra_problems):  # Then nobody knows the points.
            raise ConfigError(_describe({problem: [[]] for problem in hydra_problems}, 1, overrides))
        launcher = None if hydra_problems else _launcher_of(base)
        search = search_of(base.hydra.sweeper, overrides, loader.engine)
        is_only = OmegaConf.select(base, "config.preflight_only") is True
        points_by_problem = dict.fromkeys(hydra_problems, search.examples)
        known = {problem.key for problem in hydra_problems}
        check = functools.partial(check_subtask, is_plain=not (search.swept or is_only))
        with hydra_config(base):
            for point in search.examples:
                config = loader.load_without_hydra(CONFIG_NAME, _forced(point, loader))
                refused = [] if launcher is None else _settle_ranks(config, launcher)
                for problem in _problems_of(config, declared, check, refused, known):
                    points_by_problem.setdefault(problem, []).append(point)
    if launcher is not None and folder_of_job() is None and not is_replay():
        points_by_problem |= dict.fromkeys(_refused_by_launcher(launcher, search), search.examples)
    num_points = len(search.examples)
    if points_by_problem:
        raise ConfigError(_describe(points_by_problem, num_points, overrides))
    if search.swept or is_only:
        noun = "point" if num_points == 1 else "points"
        print(
            f"Preflight: {num_points} {noun} checked in {time.monotonic() - started:.1f} s, nothing wrong.", flush=True
        )
    return not is_only


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
        names={"project": get_project_name(), "task": get_task_name()},
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


def _refused_launcher(config: DictConfig) -> list[Problem]:
    """Returns a problem where a command chooses a launcher of the package that ours extends."""
    choice = config.hydra.runtime.choices["hydra/launcher"]
    own = OURS_INSTEAD.get(choice)
    text = f"hydra/launcher={choice}: runs are continued by the launchers of this repository alone. Write {own}."
    return [Problem("hydra/launcher", text)] if own else []


def _launcher_of(config: DictConfig) -> Any:
    """Returns the launcher that a command's configuration describes."""
    launcher: Any = OmegaConf.to_container(config.hydra.launcher)
    component: Any = resolve_target(launcher["_target_"])
    return component(**{key: value for key, value in launcher.items() if key[0] != "_"})


def _settle_ranks(point: DictConfig, launcher: Any) -> list[Problem]:
    """Lets a point's configuration see how many processes the launcher starts for it, or returns why it cannot."""
    device: Any = OmegaConf.select(point, "config.device")
    if device not in get_args(Device):  # Which is told at its own key.
        return []
    resources = granted(device, launcher.resources)
    try:
        ranks_per_node = count_ranks_per_node(device, resources)
        if device == "gpu" and isinstance(resources, LocalResources):
            check_gpus(ranks_per_node)
    except ConfigError as error:
        return [Problem("hydra.launcher", str(error))]
    seen: Any = HydraConfig.instance().cfg
    with editable(seen):
        seen.hydra.launcher.nodes, seen.hydra.launcher.tasks_per_node = resources.nodes, ranks_per_node
    return []


def _problems_of(
    config: DictConfig, declared: Declared, check_subtask: CheckSubtask, refused: list[Problem], known: set[str]
) -> list[Problem]:
    """Returns what is wrong with a point's configuration, which is resolved on the way."""
    origin_of = origins(config)
    OmegaConf.resolve(config)
    problems = [*refused, *check_config(config, declared)]
    keys = {problem.key for problem in problems}
    problems = [*problems, *check_subtask(config, keys | known)]
    return [problem for problem in problems if origin_of.get(problem.key) not in keys]  # It is told at its origin.


def _refused_by_launcher(launcher: Any, search: Search) -> list[Problem]:
    """Returns what the launcher cannot give, if it can say so by now."""
    try:
        launcher.check_request(search.num_points)
    except ConfigError as error:
        return [Problem("hydra.launcher", str(error))]
    return []


@contextmanager
def _described_errors() -> Iterator[None]:
    """Turns what is raised while configurations are composed into a `ConfigError`."""
    try:
        yield
    except yaml.YAMLError as error:
        raise ConfigError(_describe_yaml_error(error)) from error
    except ConfigCompositionException as error:
        raise ConfigError(_describe_composition_error(error)) from error


def _forced(point: list[str], loader: CachingConfigLoader) -> list[str]:
    """Returns overrides that compose even where a key does not exist, so that one check judges all keys."""
    return [
        text_of(override)
        if override.is_delete() or loader.is_group(override.key_or_group)
        else "++" + text_of(override).lstrip("+")
        for override in parse_overrides(point)
    ]


def _describe_yaml_error(error: yaml.YAMLError) -> str:
    mark: Any = getattr(error, "problem_mark", None)
    place = f"{mark.name}, line {mark.line + 1}" if mark is not None else "a task file"
    problem: Any = getattr(error, "problem", None)
    return f"{place} is not valid YAML: {problem or error}"


def _describe_composition_error(error: ConfigCompositionException) -> str:
    """Returns Hydra's text or, for a key that its own node does not have, ours with the nearest key."""
    cause = error.__cause__
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError) or not isinstance(cause.parent_node, DictConfig):
        said = str(error).partition("\nConfig search path")[0] + (f"\n{cause}" if cause else "")
        group = re.search(r"Could not override '([\w/]+)'", said)
        return f"{said} What has no default is added: write `- /{group[1]}: <name>`." if group else said
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
