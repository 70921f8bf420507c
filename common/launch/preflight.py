"""Checks a whole command before any of it starts: every point's configuration is composed and judged."""

import functools
import inspect
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from common.check import Declared, Judge, check_hydra
from common.check.annotations import hints_of
from common.check.hydra_node import ALLOWED, key_is_open
from common.check.problem import Problem
from common.check.task_file import TaskFile, describe_yaml_error, read_task_file
from common.check.tree import nodes, select
from common.check.tree import resolve as resolve_target
from common.config import CONTINUE, Device
from common.errors import ConfigError
from common.launch.composing import CONFIG_NAME, Variations
from common.launch.findings import Findings
from common.launch.resources import LocalResources, check_gpus, count_ranks_per_node, granted
from common.launch.role import folder_of_job, refuse_foreign_rank
from common.launch.sweep.choice import search_of
from common.launch.sweep.search import MOST_POINTS, Search, num_values, parse_overrides, text_of, values_of
from common.utils.hydra import UNKNOWN_FOLDER, editable, hydra_config, resolve
from common.utils.misc import REMOTE, nearest
from common.utils.runner import get_absolute_project_path, get_project_name, get_task_name
from common.utils.text import short, shown, without_error_names

Tree = Mapping[Any, Any]

CheckSubtask = Callable[..., list[Problem]]
"""Returns what only the engine can see: `BaseTaskRunner.check_subtask`."""


def check_command(loader: Variations, declared: Declared, check_subtask: CheckSubtask, overrides: list[str]) -> bool:
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
    started = time.monotonic()
    task_file = read_task_file(get_absolute_project_path() / "task" / f"{get_task_name()}.yaml")
    _check_header()
    _check_overrides(overrides, loader, declared)
    _check_plugins(task_file, declared)
    base, settings = _base(loader, overrides)
    findings = Findings(overrides, task_file)
    hydra_problems = check_hydra(_container(base.hydra), settings, declared)
    for problem in hydra_problems:
        findings.add(problem)
    if any(problem.key.startswith("hydra.sweeper") for problem in hydra_problems):  # Then nobody knows the points.
        raise ConfigError(findings.text(1))
    search = search_of(base.hydra.sweeper, overrides)
    is_only = OmegaConf.select(base, "config.preflight_only") is True
    launcher = None if hydra_problems else _launcher_of(base)
    check = functools.partial(check_subtask, is_plain=not (search.swept or is_only))
    points = PointChecks(loader, Judge(declared), check, launcher, {problem.key for problem in hydra_problems})
    with hydra_config(base):
        for point in search.examples:
            for problem in points.problems_of(point):
                findings.add(problem, point)
    if launcher is not None and folder_of_job() is None:
        for problem in _refused_by_launcher(launcher, base, search):
            findings.add(problem)
    num_points = len(search.examples)
    if findings:
        raise ConfigError(findings.text(num_points))
    if search.swept or is_only:
        noun = "point" if num_points == 1 else "points"
        print(
            f"Preflight: {num_points} {noun} checked in {time.monotonic() - started:.1f} s, nothing wrong.", flush=True
        )
    return not is_only


class PointChecks:
    """Checks one point after the other; what is like the point before is not looked at again.

    Args:
        loader: Composes configurations.
        judge: Judges them.
        check_subtask: Looks deeper.
        launcher: The command's; None where something is wrong with it.
        known: Keys of Hydra's own that something is wrong with.
    """

    def __init__(
        self, loader: Variations, judge: Judge, check_subtask: CheckSubtask, launcher: Any, known: set[str]
    ) -> None:
        self._loader = loader
        self._judge = judge
        self._check_subtask = check_subtask
        self._launcher = launcher
        self._known = known
        self._device: Any = None
        self._refused: list[Problem] = []

    def problems_of(self, point: list[str]) -> list[Problem]:
        """Returns what is wrong with a point."""
        try:
            with described_errors():
                tree, origin_of = self._composed(point)
        except ConfigError as error:
            return [Problem("", str(error))]
        problems = [*self._refused, *self._judge.problems(tree), *check_paths(tree)]
        keys = {problem.key for problem in problems}
        problems += self._check_subtask(tree, keys | self._known)
        return [problem for problem in problems if origin_of.get(problem.key) not in keys]  # It is told at its origin.

    def _composed(self, point: list[str]) -> tuple[Tree, dict[str, str]]:
        forced = _forced(point, self._loader)
        tree, origin_of = self._loader.resolved(CONFIG_NAME, forced)
        config = tree.get("config")
        device: Any = config.get("device") if isinstance(config, dict) else None
        if self._launcher is not None and device != self._device and device in get_args(Device):
            self._device, self._refused = device, _settle_ranks(device, self._launcher)
            self._loader.forget_resolved()  # They see how many ranks there are.
            tree, origin_of = self._loader.resolved(CONFIG_NAME, forced)
        return tree, origin_of


def check_paths(tree: Tree) -> list[Problem]:
    """Returns a problem for each path of a subtask that leads nowhere, or is not for setting."""
    folder, checkpoint = (select(dict(tree), f"config.{key}") for key in ("output_dir", "ckpt_path"))
    problems = []
    if folder != UNKNOWN_FOLDER:
        text = f"config.output_dir={shown(folder)} has no effect: each launch chooses its folder. Leave it out."
        problems.append(Problem("config.output_dir", text))
    data = select(dict(tree), "config.data_dir")
    if isinstance(data, str) and REMOTE.match(data):
        text = f"config.data_dir={shown(data)} is no folder of this machine: give one."
        problems.append(Problem("config.data_dir", text))
    if isinstance(checkpoint, str) and checkpoint not in ("", "???", CONTINUE) and not _is_file(checkpoint):
        text = f"config.ckpt_path={shown(checkpoint)}: there is no such file."
        problems.append(Problem("config.ckpt_path", text))
    return problems


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):  # No name of a file, or of nobody's home.
        return False


def declared_by(run_subtask: Callable[..., Any], store: ZenStore, allowed_targets: tuple[str, ...]) -> Declared:
    """Returns what a runner and its registered configurations declare.

    Args:
        run_subtask: Its parameters name the top-level keys.
        store: The registered configurations.
        allowed_targets: Modules and objects that may be named besides the standing list.
    """
    target_keys: dict[str, frozenset[str]] = {}
    plugins: dict[str, dict[str, str]] = {"launcher": {}, "sweeper": {}}
    for entry in store:
        tree = _container_of_entry(entry["node"])
        part = str(entry["group"]).removeprefix("hydra/")
        if part in plugins:
            plugins[part][tree["_target_"]] = entry["name"]
        for _, mapping in nodes(tree):
            for key in ("_target_", "_zen_target"):
                if isinstance(mapping.get(key), str):
                    target_keys[mapping[key]] = target_keys.get(mapping[key], frozenset()) | frozenset(mapping)
    return Declared(
        root_keys=frozenset(inspect.signature(run_subtask).parameters),
        names={"project": get_project_name(), "task": get_task_name()},
        target_keys=target_keys,
        allowed_targets=allowed_targets,
        hints=hints_of(run_subtask),
        hydra=_registered_hydra(store),
        plugins=plugins,
    )


HYDRAS_OWN_TEXTS = ("defaults", "help", "hydra_help", "env", "launcher", "sweeper")
"""What Hydra itself fills in, and what is judged by other means."""


def _registered_hydra(store: ZenStore) -> dict[str, Any]:
    tree: dict[str, Any] = _container_of_entry(store["hydra", "config"])
    for part in ("job_logging", "hydra_logging"):
        (name,) = (one["name"] for one in store if one["group"] == f"hydra/{part}")
        tree[part] = _container_of_entry(store[f"hydra/{part}", name])
    return {key: value for key, value in tree.items() if key not in HYDRAS_OWN_TEXTS}


def _container_of_entry(node: Any) -> Any:
    return _container(node if isinstance(node, DictConfig) else OmegaConf.create(node))


def _container(node: DictConfig) -> Any:
    return OmegaConf.to_container(node)


def _base(loader: Variations, overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Returns the command's configuration without what is swept, resolved; and Hydra's own node, unresolved."""
    with described_errors():
        fixed = [text_of(one) for one in parse_overrides(overrides) if not one.is_sweep_override()]
        base = loader.load_configuration(
            config_name=CONFIG_NAME, overrides=_forced(fixed, loader), run_mode=RunMode.RUN
        )
        settings = _container(base.hydra)
        resolve(base)
    return base, settings


def _check_overrides(overrides: list[str], loader: Variations, declared: Declared) -> None:
    """Checks what each override is about, before anything is composed.

    Raises:
        ConfigError: one sets something of Hydra's that is not open, or a group is chosen twice.
    """
    parsed = parse_overrides(overrides)
    for one in parsed:
        if not (key_is_open(one.key_or_group) and key_is_open(one.package or "")):
            raise ConfigError(f"{short(text_of(one))} is not allowed. {ALLOWED}")
        if not one.key_or_group:
            raise ConfigError(f"{shown(text_of(one))} has no key: write key=value.")
    chosen = [one for one in parsed if loader.is_group(one.key_or_group) or one.is_delete()]
    for (group, _), count in Counter((one.key_or_group, one.package) for one in chosen).items():
        if count > 1:
            given = ", ".join(short(text_of(one)) for one in parsed if one.key_or_group == group)
            raise ConfigError(f"{group} is given {count} times ({given}): choose one.")
    for one in chosen:
        if not one.is_delete() and one.key_or_group != "task":
            _check_choice(one, loader, declared)


def _check_plugins(task_file: TaskFile, declared: Declared) -> None:
    """Checks that the launcher and the sweeper that a task file chooses are ours.

    Raises:
        ConfigError: one is another package's.
    """
    for part, names in declared.plugins.items():
        choice, place = task_file.choice_of(f"hydra/{part}")
        if choice is not None and choice not in names.values():
            options = " or ".join(sorted(names.values()))
            raise ConfigError(f"{place}: hydra/{part}: {shown(choice)} is not allowed. Choose {options}.")


def _check_choice(override: Override, loader: Variations, declared: Declared) -> None:
    """Checks that a group's choices exist.

    Raises:
        ConfigError: one does not.
    """
    group = override.key_or_group
    own = declared.plugins.get(group.removeprefix("hydra/")) if group.startswith("hydra/") else None
    options = sorted(own.values()) if own else loader.choices(group)
    if override.is_sweep_override():
        if not override.is_discrete_sweep() or num_values(override) > MOST_POINTS:
            return  # Which is told where the points are chosen.
        names: list[Any] = [line.partition("=")[2] for line in values_of(override)]
    else:
        value: Any = override.value()
        names = value if isinstance(value, list) else [value]
    for name in names:
        is_there = isinstance(name, str) and (name in options or (own is None and loader.has_choice(group, name)))
        if not is_there:
            meant = nearest(name, options) if isinstance(name, str) else None
            hint = f" Did you mean {group}={meant}?" if meant else ""
            text = short(text_of(override))
            raise ConfigError(
                f"{text}: {shown(name)} is no choice of {group}.{hint} Choose one of {', '.join(options)}."
            )


def _check_header() -> None:
    """Checks that the task file sets keys at the top.

    Raises:
        ConfigError: it would set them below the key `task`.
    """
    task_file = get_absolute_project_path() / "task" / f"{get_task_name()}.yaml"
    if re.search(r"^#\s*@package\s+_global_\s*$", task_file.read_text(encoding="utf-8"), re.MULTILINE) is None:
        raise ConfigError(f"{task_file}: its first line must be '# @package _global_'.")


def _launcher_of(config: DictConfig) -> Any:
    """Returns the launcher that a command's configuration describes."""
    launcher: Any = OmegaConf.to_container(config.hydra.launcher)
    component: Any = resolve_target(launcher["_target_"])
    return component(**{key: value for key, value in launcher.items() if key[0] != "_"})


def _settle_ranks(device: Device, launcher: Any) -> list[Problem]:
    """Lets configurations see how many processes the launcher starts for a point, or returns why it cannot."""
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


def _refused_by_launcher(launcher: Any, config: DictConfig, search: Search) -> list[Problem]:
    """Returns what the launcher cannot give, if it can say so by now."""
    try:
        launcher.check_request(str(config.hydra.job.name), search.num_points)
    except ConfigError as error:
        return [Problem("hydra.launcher", str(error))]
    return []


@contextmanager
def described_errors() -> Iterator[None]:
    """Turns what is raised while configurations are composed and resolved into a `ConfigError` of one sentence."""
    try:
        yield
    except ConfigError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError(describe_yaml_error(error)) from error
    except ConfigCompositionException as error:
        raise ConfigError(_describe_composition_error(error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_describe_value_error(error)) from error
    except RecursionError as error:
        raise ConfigError(
            "A value is nested too deeply, or is made of itself: see the interpolations, ${…}."
        ) from error
    except HydraException as error:
        raise ConfigError(_first_line(error)) from error
    except Exception as error:  # Hydra has no errors of its own for much of what can be written.
        raise ConfigError(
            f"The task file and the command line make no configuration: {_first_line(error)}. Give what differs from a "
            "task that runs, key by key."
        ) from error


def _forced(point: list[str], loader: Variations) -> list[str]:
    """Returns overrides that compose even where a key does not exist, so that one check judges all keys."""
    return [
        text_of(override)
        if override.is_delete() or loader.is_group(override.key_or_group)
        else "++" + text_of(override).lstrip("+")
        for override in parse_overrides(point)
    ]


def _describe_composition_error(error: ConfigCompositionException) -> str:
    """Returns Hydra's text or, for a key that its own node does not have, ours with the nearest key."""
    cause = error.__cause__
    if not isinstance(cause, ConfigKeyError | ConfigAttributeError) or not isinstance(cause.parent_node, DictConfig):
        said = _first_line(error) + (f" {_first_line(cause)}" if cause else "")
        group = re.search(r"Could not override '([\w/]+)'", said)
        return f"{said} What has no default is added: write `- /{group[1]}: <name>`." if group else said
    parent = str(cause.full_key).rpartition(".")[0]
    meant = nearest(str(cause.full_key), [f"{parent}.{key}" for key in map(str, cause.parent_node)])
    return f"No configuration declares the key {cause.full_key}." + (f" Did you mean {meant}?" if meant else "")


def _describe_value_error(error: OmegaConfBaseException) -> str:
    """Returns which value cannot be made, and why."""
    key = str(error.full_key or "")
    said = _first_line(error).rstrip(".")
    return f"{short(key)}: {said}." if key and key not in said else f"{said}."


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return short(without_error_names(" ".join(lines[:2])), 300) if lines else "nobody says why"
