"""Registers the conditional diffusion networks."""

from hydra_zen import ZenStore

from common.dl.litmodule._nnmodule.cond_diffusion.dit1d1d import DiT1D1D, DiT1D1DConfig
from common.utils.hydra_zen import generate_config


def store_configs(store: ZenStore) -> None:
    """Registers the diffusion transformer."""
    store(generate_config(DiT1D1D, config=generate_config(DiT1D1DConfig)), group="litmodule/nnmodule", name="dit1d1d")
