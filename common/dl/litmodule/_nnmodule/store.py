"""Registers the networks."""

from hydra_zen import ZenStore

from common.dl.litmodule._nnmodule.cond_autoreg.store import store_configs as store_cond_autoreg_configs
from common.dl.litmodule._nnmodule.cond_diffusion.store import store_configs as store_cond_diffusion_configs
from common.dl.litmodule._nnmodule.feedforward import FNN, FNNConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2Config
from common.dl.litmodule._nnmodule.mlp import MLP, MLPConfig
from common.utils.hydra_zen import generate_config


def store_configs(store: ZenStore) -> None:
    """Registers the networks under the names that task files use."""
    store(generate_config(FNN, config=generate_config(FNNConfig)), group="litmodule/nnmodule", name="fnn")
    store(generate_config(MLP, config=generate_config(MLPConfig)), group="litmodule/nnmodule", name="mlp")
    store(generate_config(Mamba2, config=generate_config(Mamba2Config)), group="litmodule/nnmodule", name="mamba2")
    store_cond_autoreg_configs(store)
    store_cond_diffusion_configs(store)
