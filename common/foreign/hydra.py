"""Hydra's parser of command lines, its loader of configurations, and the error in a job's result.

There is no public way to compose a configuration as Hydra's own main function will, before it does (`hydra.compose`
leaves out `hydra.*` and what a sweep varies), or to have it composed once for both. Read for Hydra 1.3.
"""

from collections.abc import Callable
from typing import Any

from hydra._internal import hydra as main_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.utils import JobReturn
from omegaconf import DictConfig

__all__ = [
    "ConfigLoaderImpl",
    "Hydra",
    "apply_overrides",
    "create_config_search_path",
    "error_of",
    "get_args_parser",
    "get_overrides_dirname",
    "use_loader",
]


def use_loader(make: Callable[..., ConfigLoaderImpl]) -> None:
    """Lets Hydra's main function load configurations by what a call returns; its own class puts things back."""
    main_module.ConfigLoaderImpl = make  # type: ignore[assignment, misc]


def apply_overrides(overrides: list[Any], config: DictConfig) -> None:
    """Sets the values of parsed overrides in a composed configuration, as Hydra does."""
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def error_of(result: JobReturn) -> Any:
    """Returns what a failed job raised; `result.return_value` would raise it."""
    return result._return_value
