"""Tools on configurations that Hydra composed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


@contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Makes `${hydra:...}` interpolations see a configuration's own Hydra node."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def editable(config: DictConfig) -> Iterator[None]:
    """Lets a composed configuration, Hydra's node included, be changed."""
    with read_write(config), open_dict(config), read_write(config.hydra), open_dict(config.hydra):
        yield


def interpolated_keys(config: DictConfig) -> set[str]:
    """Returns the keys, outside Hydra's own node, whose values refer to other keys."""
    tree = OmegaConf.to_container(config, resolve=False)
    return {path for path, value in leaves(tree) if isinstance(value, str) and "${" in value}


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted key and the value of everything in a tree that is neither a mapping nor a list."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from leaves(value, f"{path}[{index}]")
    else:
        yield path, tree


def resolve(config: DictConfig) -> None:
    """Resolves a composed configuration's interpolations in place, outside Hydra's own node.

    Args:
        config: What is known only once a job runs, such as its folder, becomes "<output_dir>".
    """
    with editable(config):
        if OmegaConf.is_missing(config.hydra.runtime, "output_dir"):
            config.hydra.runtime.output_dir = "<output_dir>"
        with hydra_config(config):
            for key in config:
                node = config._get_node(key)
                if key != "hydra" and isinstance(node, DictConfig):
                    OmegaConf.resolve(node)
