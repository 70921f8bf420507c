"""Registers the conditional autoregressive models, and their backbones."""

from hydra_zen import ZenStore

from common.dl.litmodule._nnmodule.cond_autoreg.backbone import (
    FNNBackbone,
    FNNBackboneConfig,
    LSTMBackbone,
    Mamba2Backbone,
    RecurrentBackboneConfig,
    RNNBackbone,
)
from common.dl.litmodule._nnmodule.cond_autoreg.base import BaseCAMConfig
from common.dl.litmodule._nnmodule.cond_autoreg.cdam import CDAM
from common.dl.litmodule._nnmodule.cond_autoreg.cgam import CGAM, CGAMConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2BlocksConfig
from common.utils.hydra_zen import generate_config, generate_config_partial


def store_configs(store: ZenStore) -> None:
    """Registers models, each with the LSTM as its backbone unless told otherwise, and backbones."""
    for name, model, config in (("cdam", CDAM, BaseCAMConfig), ("cgam", CGAM, CGAMConfig)):
        store(
            generate_config(
                model, config=generate_config(config), hydra_defaults=["_self_", {"model_partial": "lstm"}]
            ),
            group="litmodule/nnmodule",
            name=name,
        )
    for name, backbone, backbone_config in (
        ("fnn", FNNBackbone, FNNBackboneConfig),
        ("rnn", RNNBackbone, RecurrentBackboneConfig),
        ("lstm", LSTMBackbone, RecurrentBackboneConfig),
        ("mamba2", Mamba2Backbone, Mamba2BlocksConfig),
    ):
        store(
            generate_config_partial(backbone, config=generate_config(backbone_config)),
            group="litmodule/nnmodule/model_partial",
            name=name,
        )
