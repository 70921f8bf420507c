"""Composes the configurations of a command: Hydra once for those that differ in nothing but values.

Hydra takes a tenth of a second to compose a configuration, and a value is the last thing that it puts in.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hydra import version
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from common.engine import Engine
from common.foreign.hydra import (
    ConfigLoaderImpl,
    Hydra,
    apply_overrides,
    create_config_search_path,
    get_overrides_dirname,
    use_loader,
)
from common.launch.sweep.search import parse_overrides, parse_with, text_of
from common.utils.hydra import origins
from common.utils.runner import get_absolute_project_path, get_task_name

CONFIG_NAME = "config"
"""What an engine's `store_configs` calls the configuration of a task."""

VERSION_BASE = "1.3"
"""The version of Hydra whose defaults hold."""


REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
"""An interpolation that is another key's value."""

CONSTANT = re.compile(r"\$\{(?:oc\.env|hydra):[\w.]+\}")
"""An interpolation that no key changes."""

Path = tuple[Any, ...]
"""The keys that lead to a value."""


class Template:
    """Configurations that differ in the values of some keys, resolved: only what depends on these is done anew.

    Args:
        config: One of them, unresolved.
    """

    def __init__(self, config: DictConfig) -> None:
        self.origins = origins(config)
        self._config = config
        self._shared: DictConfig | None = None
        self._plain: dict[Any, Any] = {}
        self._dependent: list[Path] = []

    def resolved(self, values: list[Override], put: Callable[[list[Override], DictConfig], None]) -> dict[Any, Any]:
        """Returns the configuration with some values, in plain containers.

        Args:
            values: The same keys each time.
            put: Puts them into a configuration.
        """
        keys = [tuple(one.key_or_group.split(".")) for one in values]
        is_simple = not any("[" in one.key_or_group or "${" in str(one.value()) for one in values)
        if self._shared is None or not is_simple:
            return self._from_scratch(values, put, keys if is_simple else None)
        try:
            put(values, self._shared)
            found = {path: _select(self._shared, path) for path in (*keys, *self._dependent)}
        except Exception:  # What is wrong shows there, as it does for a single run.
            return self._from_scratch(values, put, None)
        return _changed(self._plain, found)

    def _from_scratch(
        self,
        values: list[Override],
        put: Callable[[list[Override], DictConfig], None],
        keys: list[Path] | None,
    ) -> dict[Any, Any]:
        """Does all of it; where keys are given, later calls start from what comes of it."""
        config = copy.deepcopy(self._config)
        put(values, config)
        unresolved = OmegaConf.to_container(config)
        shared = copy.deepcopy(config) if keys is not None else None
        OmegaConf.resolve(config)
        plain: Any = OmegaConf.to_container(config)
        if shared is not None:
            self._shared, self._plain = shared, plain
            self._dependent = list(_dependent_on(keys or [], dict(_interpolated(unresolved))))
        return dict(plain)


def _interpolated(tree: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yields the path and the text of everything in a tree that is made of other values."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from _interpolated(value, (*path, key))
        elif isinstance(value, str) and "${" in value:
            yield (*path, key), value


def _dependent_on(keys: list[Path], interpolated: Mapping[Path, str]) -> Iterator[Path]:
    """Yields the paths whose values may be others if some keys have other values: also by way of each other."""
    changed = set(keys)
    waiting = dict(interpolated)
    while found := [path for path, text in waiting.items() if _may_depend(text, changed)]:
        changed |= set(found)
        for path in found:
            del waiting[path]
        yield from found


def _may_depend(text: str, changed: set[Path]) -> bool:
    """Returns whether an interpolation refers to anything that changes; of one that is not simple, nobody knows."""
    rest = CONSTANT.sub("", text)
    references = [tuple(reference.split(".")) for reference in REFERENCE.findall(rest)]
    if "${" in REFERENCE.sub("", rest):
        return True
    return any(one[: len(path)] == path or path[: len(one)] == one for one in references for path in changed)


def _select(config: DictConfig, path: Path) -> Any:
    found: Any = config
    for key in path[:-1]:
        found = found[key]
    if OmegaConf.is_missing(found, path[-1]):
        return "???"
    value = found[path[-1]]
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _changed(tree: dict[Any, Any], values: dict[Path, Any]) -> dict[Any, Any]:
    """Returns a tree with other values at some paths; what lies on no such path is shared with the one given."""
    root = dict(tree)
    own = {(): root}
    for path, value in values.items():
        for depth in range(1, len(path)):
            if path[:depth] not in own:
                above, key = own[path[: depth - 1]], path[depth - 1]
                own[path[:depth]] = above[key] = copy.copy(above[key])
        own[path[:-1]][path[-1]] = value
    return root


class CachingConfigLoader(ConfigLoaderImpl):
    """Hydra's loader of configurations, which remembers what it has composed.

    Args:
        config_search_path: Where Hydra looks for groups.
        engine: What runs the configurations. Hydra hands this loader to the launchers, and nothing of the runner.
    """

    def __init__(self, config_search_path: ConfigSearchPath, engine: Engine) -> None:
        super().__init__(config_search_path)
        self.engine = engine
        self._composed: dict[tuple[str | None, ...], DictConfig] = {}
        self._templates: dict[Any, Template] = {}
        self._groups: dict[str, bool] = {}

    def is_group(self, key: str) -> bool:
        """Returns whether there is anything to choose from under a key."""
        if key not in self._groups:
            self._groups[key] = bool(self.choices(key))
        return self._groups[key]

    def choices(self, group: str) -> list[str]:
        """Returns the names of a group's choices."""
        return sorted(self.repository.get_group_options(group)) if group else []

    def has_choice(self, group: str, name: str) -> bool:
        """Returns whether a group has a choice, which may lie in a folder below it."""
        return bool(self.repository.config_exists(f"{group}/{name}"))

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """Returns a configuration of its own, as Hydra would compose it from these overrides."""
        parsed = parse_overrides(overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode, from_shell)
        config = copy.deepcopy(self._base(config_name, parsed))
        self._set_values(parsed, config)
        own = [override for override in parsed if not override.is_hydra_override()]
        naming = config.hydra.job.config.override_dirname
        config.hydra.overrides.hydra = [text_of(override) for override in parsed if override.is_hydra_override()]
        config.hydra.overrides.task = [text_of(override) for override in own]
        config.hydra.job.override_dirname = get_overrides_dirname(
            own, naming.exclude_keys, naming.item_sep, naming.kv_sep
        )
        return config

    def resolved(self, config_name: str, overrides: list[str]) -> tuple[dict[Any, Any], dict[str, str]]:
        """Returns the configuration of a point without Hydra's own node, resolved, in plain containers.

        Args:
            config_name: The primary configuration's.
            overrides: The point's.

        Returns:
            The configuration, in which nothing may be changed, and for each key that takes another one's value the
            other.
        """
        parsed = parse_overrides(overrides)
        values = [one for one in parsed if self._is_value(one) and not one.is_hydra_override()]
        others = tuple(text_of(one) for one in parsed if not self._is_value(one))
        name = (config_name, others, tuple(one.key_or_group for one in values))
        if name not in self._templates:
            base = self._base(config_name, parsed)
            own = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
            self._templates[name] = Template(own)
        return self._templates[name].resolved(values, self._set_values), self._templates[name].origins

    def forget_resolved(self) -> None:
        """Lets `resolved` begin anew: what Hydra's own node says has changed."""
        self._templates.clear()

    def _base(self, config_name: str | None, parsed: list[Override]) -> DictConfig:
        """Returns what Hydra composes without single values, and without what is swept, as it does itself."""
        others = [self._forced(one) for one in parsed if not (self._is_value(one) or one.is_sweep_override())]
        name = (config_name, *others)
        if name not in self._composed:
            self._composed[name] = super().load_configuration(config_name, others, RunMode.RUN)
        return self._composed[name]

    @staticmethod
    def _apply_overrides_to_config(overrides: list[Override], cfg: DictConfig) -> None:
        """Puts values in where the checks put them: they, not Hydra, know which keys there may be.

        Hydra itself refuses `key={a: 1}` where the mapping that `key` names is free and empty, and `+key=1` where there
        is such a key.
        """
        kinds = (OverrideType.CHANGE, OverrideType.ADD)
        forced = [replace(one, type=OverrideType.FORCE_ADD) if one.type in kinds else one for one in overrides]
        apply_overrides(forced, cfg)

    def _forced(self, override: Override) -> str:
        """Returns an override that Hydra puts in wherever it leads; see `_apply_overrides_to_config`."""
        text = text_of(override)
        is_choice = override.is_delete() or override.package is not None or self.is_group(override.key_or_group)
        return text if is_choice else "++" + text.lstrip("+")

    def _set_values(self, parsed: list[Override], config: DictConfig) -> None:
        self._apply_overrides_to_config([one for one in parsed if self._is_value(one)], config)

    def _is_value(self, override: Override) -> bool:
        """Returns whether an override sets a single value: one that changes nothing but itself."""
        if override.is_delete() or override.is_sweep_override() or override.package is not None:
            return False
        return not isinstance(override.value(), dict | list) and not self.is_group(override.key_or_group)


@contextmanager
def composing_once(engine: Engine) -> Iterator[CachingConfigLoader]:
    """Yields a loader of the running project's configurations that Hydra uses too: it composes nothing again."""
    version.setbase(VERSION_BASE)
    loader = CachingConfigLoader(create_config_search_path(str(get_absolute_project_path())), engine)
    Hydra(get_task_name(), loader)  # Makes known what configurations refer to: the job's name, Hydra's resolvers.
    use_loader(lambda **_: loader)
    parse_with(loader)
    try:
        yield loader
    finally:
        parse_with(None)
        use_loader(ConfigLoaderImpl)
