"""Checks a whole command before any of it starts: every point's configuration is composed and judged."""

import functools
import inspect
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from hydra_zen import ZenStore
from omegaconf import DictConfig, OmegaConf

from common.check import Declared, Judge, check_hydra
from common.check.annotations import hints_of
from common.check.composition import described_errors
from common.check.hydra_node import ALLOWED, key_is_open
from common.check.problem import Problem
from common.check.task_file import TaskFile, read_task_file
from common.check.tree import nodes, select
from common.check.tree import resolve as resolve_target
from common.config import CONTINUE, Device
from common.errors import ConfigError
from common.launch.composing import CONFIG_NAME, CachingConfigLoader
from common.launch.findings import Findings
from common.launch.resources import LocalResources, check_gpus, count_ranks_per_node, granted
from common.launch.role import folder_of_job, is_replay, refuse_foreign_rank
from common.launch.sweep.optuna import search_of
from common.launch.sweep.search import MOST_POINTS, Search, num_values, parse_overrides, text_of, values_of
from common.utils.hydra import UNKNOWN_FOLDER, editable, hydra_config, resolve
from common.utils.misc import REMOTE, nearest
from common.utils.runner import get_absolute_project_path, get_project_name, get_task_name
from common.utils.text import short, shown

Tree = Mapping[Any, Any]

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
    search = search_of(base.hydra.sweeper, overrides, loader.engine)
    is_only = OmegaConf.select(base, "config.preflight_only") is True
    launcher = None if hydra_problems else _launcher_of(base)
    check = functools.partial(check_subtask, is_plain=not (search.swept or is_only))
    points = PointChecks(loader, Judge(declared), check, launcher, {problem.key for problem in hydra_problems})
    with hydra_config(base):
        for point in search.examples:
            for problem in points.problems_of(point):
                findings.add(problem, point)
    if launcher is not None and folder_of_job() is None and not is_replay():
        for problem in _refused_by_launcher(launcher, search):
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
        self, loader: CachingConfigLoader, judge: Judge, check_subtask: CheckSubtask, launcher: Any, known: set[str]
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


def _base(loader: CachingConfigLoader, overrides: list[str]) -> tuple[DictConfig, dict[str, Any]]:
    """Returns the command's configuration without what is swept, resolved; and Hydra's own node, unresolved."""
    with described_errors():
        fixed = [text_of(one) for one in parse_overrides(overrides) if not one.is_sweep_override()]
        base = loader.load_configuration(
            config_name=CONFIG_NAME, overrides=_forced(fixed, loader), run_mode=RunMode.RUN
        )
        settings = _container(base.hydra)
        resolve(base)
    return base, settings


def _check_overrides(overrides: list[str], loader: CachingConfigLoader, declared: Declared) -> None:
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
            _refuse_theirs(choice)
            options = " or ".join(sorted(names.values()))
            raise ConfigError(f"{place}: hydra/{part}: {shown(choice)} is not allowed. Choose {options}.")


def _refuse_theirs(choice: Any) -> None:
    """Answers a launcher of the package that ours extends.

    Raises:
        ConfigError: it is one.
    """
    if isinstance(choice, str) and choice in OURS_INSTEAD:
        raise ConfigError(
            f"hydra/launcher={choice}: runs are continued by the launchers of this repository alone. Write "
            f"{OURS_INSTEAD[choice]}."
        )


def _check_choice(override: Override, loader: CachingConfigLoader, declared: Declared) -> None:
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
            _refuse_theirs(name)
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


def _refused_by_launcher(launcher: Any, search: Search) -> list[Problem]:
    """Returns what the launcher cannot give, if it can say so by now."""
    try:
        launcher.check_request(search.num_points)
    except ConfigError as error:
        return [Problem("hydra.launcher", str(error))]
    return []


def _forced(point: list[str], loader: CachingConfigLoader) -> list[str]:
    """Returns overrides that compose even where a key does not exist, so that one check judges all keys."""
    return [
        text_of(override)
        if override.is_delete() or loader.is_group(override.key_or_group)
        else "++" + text_of(override).lstrip("+")
        for override in parse_overrides(point)
    ]
