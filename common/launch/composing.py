"""Composes the configurations of a command: Hydra once for those that differ in nothing but values.

Hydra takes a tenth of a second to compose a configuration, and a value is the last thing that it puts in.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

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
from common.launch.sweep.search import parse_overrides, text_of
from common.utils.runner import get_absolute_project_path, get_task_name

CONFIG_NAME = "config"
"""What an engine's `store_configs` calls the configuration of a task."""

VERSION_BASE = "1.3"
"""The version of Hydra whose defaults hold."""


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

    def is_group(self, key: str) -> bool:
        """Returns whether there is anything to choose from under a key."""
        return bool(self.repository.get_group_options(key))

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

    def load_without_hydra(self, config_name: str, overrides: list[str]) -> DictConfig:
        """Returns the configuration of a point without Hydra's own node, which is the larger half."""
        parsed = parse_overrides(overrides)
        base = self._base(config_name, parsed)
        config = copy.deepcopy(OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"]))
        self._set_values([override for override in parsed if not override.is_hydra_override()], config)
        return config

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
    try:
        yield loader
    finally:
        use_loader(ConfigLoaderImpl)
