"""Settles what a configuration leaves to the surroundings, so that what is stored is what was used."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from common.check.tree import resolve
from common.config import CONTINUE, PATH_KEYS
from common.errors import ConfigError
from common.utils.hydra import editable, hydra_config


def settle(config: DictConfig) -> dict[str, Any]:
    """Makes relative paths absolute, and lets every component pin down what it finds on this machine.

    A component takes part by a class method `settle(node)`, which may change its own node of the configuration: a data
    module replaces `source: auto` with the source that it found.

    Args:
        config: A composed configuration, changed in place.

    Returns:
        What the components say of the data that is used.

    Raises:
        ConfigError: what the configuration asks for is not there.
    """
    data: dict[str, Any] = {}
    with editable(config), hydra_config(config):
        for key in PATH_KEYS:
            value: Any = OmegaConf.select(config, key)
            if isinstance(value, str) and (key, value) != ("config.ckpt_path", CONTINUE):
                OmegaConf.update(config, key, str(Path(value).expanduser().absolute()))
        if config.config.ckpt_path not in (None, CONTINUE) and not Path(config.config.ckpt_path).is_file():
            raise ConfigError(f"config.ckpt_path={config.config.ckpt_path!r}: there is no such file.")
        for node in config.values():
            target = node.get("_target_") if isinstance(node, DictConfig) else None
            component: Any = resolve(target) if isinstance(target, str) else None
            if hasattr(component, "settle"):
                data |= component.settle(node)
    return data
