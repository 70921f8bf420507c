"""Registers the networks."""

from hydra_zen import ZenStore

from common.dl.litmodule._nnmodule.feedforward import FNN, FNNConfig
from common.dl.litmodule._nnmodule.mlp import MLP, MLPConfig
from common.utils.hydra_zen import generate_config


def store_configs(store: ZenStore) -> None:
    """Registers the networks under the names that task files use."""
    store(generate_config(FNN, config=generate_config(FNNConfig)), group="litmodule/nnmodule", name="fnn")
    store(generate_config(MLP, config=generate_config(MLPConfig)), group="litmodule/nnmodule", name="mlp")
