"""Tools on configurations that Hydra composed."""

from collections.abc import Iterator
from contextlib import contextmanager

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


def resolved(config: DictConfig) -> DictConfig:
    """Resolves a composed configuration's interpolations in place, all but Hydra's own.

    What is known only once a job runs, such as its folder, stands as "???" in Hydra's node and as its name in the rest.
    """
    with editable(config):
        if OmegaConf.is_missing(config.hydra.runtime, "output_dir"):
            config.hydra.runtime.output_dir = "<output_dir>"
        with hydra_config(config):
            for key in config:
                if key != "hydra":
                    node = config._get_node(key)
                    if isinstance(node, DictConfig):
                        OmegaConf.resolve(node)
    return config
