"""Composes the configurations of many points: Hydra once for those that differ in nothing but values.

Hydra takes a tenth of a second to compose a configuration, and a value is the last thing that it puts in.
"""

import copy
import functools
from collections.abc import Callable

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from common.launch.sweep import parse_overrides, text_of


class Variations:
    """Composes configurations.

    Args:
        loader: Knows the groups.
        compose: Composes a configuration from overrides, as Hydra does it.
    """

    def __init__(self, loader: ConfigLoader, compose: Callable[[list[str]], DictConfig]) -> None:
        self.is_group = functools.cache(lambda key: bool(loader.get_group_options(key)))
        self._compose = compose
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: list[str]) -> DictConfig:
        """Returns a configuration of its own, as Hydra would compose it from these overrides."""
        parsed = parse_overrides(overrides)
        config = copy.deepcopy(self._base(parsed))
        self._set_values(parsed, config)
        own = [override for override in parsed if not override.is_hydra_override()]
        naming = config.hydra.job.config.override_dirname
        config.hydra.overrides.task = [text_of(override) for override in own]
        config.hydra.job.override_dirname = get_overrides_dirname(
            own, naming.exclude_keys, naming.item_sep, naming.kv_sep
        )
        return config

    def compose_without_hydra(self, overrides: list[str]) -> DictConfig:
        """Returns the same without Hydra's own node, which is the larger half."""
        parsed = parse_overrides(overrides)
        base = self._base(parsed)
        config = copy.deepcopy(OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"]))
        self._set_values(parsed, config)
        return config

    def _base(self, parsed: list[Override]) -> DictConfig:
        others = tuple(text_of(override) for override in parsed if not self._is_value(override))
        if others not in self._composed:
            self._composed[others] = self._compose(list(others))
        return self._composed[others]

    def _set_values(self, parsed: list[Override], config: DictConfig) -> None:
        ConfigLoaderImpl._apply_overrides_to_config([one for one in parsed if self._is_value(one)], config)

    def _is_value(self, override: Override) -> bool:
        """Returns whether an override sets a single value: one that changes nothing but itself."""
        if override.is_delete() or override.is_hydra_override() or override.package is not None:
            return False
        return not isinstance(override.value(), dict | list) and not self.is_group(override.key_or_group)
