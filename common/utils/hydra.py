"""Tools on configurations that Hydra composed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

UNKNOWN_FOLDER = "<output_dir>"
"""Stands for a run's folder as long as none is chosen."""


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


def origins(config: DictConfig) -> dict[str, str]:
    """Returns, for each key whose value is that of another key, that other key."""
    tree = OmegaConf.to_container(config, resolve=False)
    references = ((path, re.fullmatch(r"\$\{([\w.]+)\}", str(value))) for path, value in leaves(tree))
    return {path: reference[1] for path, reference in references if reference}


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
    """Resolves a composed configuration's interpolations in place, Hydra's own node included.

    Args:
        config: What is known only once a job runs, such as its folder, becomes `UNKNOWN_FOLDER`.
    """
    with editable(config):
        if OmegaConf.is_missing(config.hydra.runtime, "output_dir"):
            config.hydra.runtime.output_dir = UNKNOWN_FOLDER
    with hydra_config(config), editable(config):  # In this order: Hydra makes its node read-only when it takes it.
        OmegaConf.resolve(config)
