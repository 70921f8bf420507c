"""Registers optimisers, schedulers, and networks with their backbones."""

from hydra_zen import ZenStore
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ConstantLR, LinearLR

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
from common.dl.litmodule._nnmodule.cond_diffusion.dit1d1d import DiT1D1D, DiT1D1DConfig
from common.dl.litmodule._nnmodule.feedforward import FNN, MLP, FNNConfig, MLPConfig
from common.dl.litmodule._nnmodule.mamba2 import Mamba2, Mamba2BlocksConfig, Mamba2Config
from common.utils.hydra_zen import generate_config, generate_config_partial


def store_diffusive(store: ZenStore) -> None:
    """Registers the diffusion transformer."""
    store(generate_config(DiT1D1D, config=generate_config(DiT1D1DConfig)), group="litmodule/nnmodule", name="dit1d1d")


def store_autoregressive(store: ZenStore) -> None:
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


def store_networks(store: ZenStore) -> None:
    """Registers the networks under the names that task files use."""
    store(generate_config(FNN, config=generate_config(FNNConfig)), group="litmodule/nnmodule", name="fnn")
    store(generate_config(MLP, config=generate_config(MLPConfig)), group="litmodule/nnmodule", name="mlp")
    store(generate_config(Mamba2, config=generate_config(Mamba2Config)), group="litmodule/nnmodule", name="mamba2")
    store_autoregressive(store)
    store_diffusive(store)


def store_configs(store: ZenStore) -> None:
    """Registers everything that a Lightning module is composed of."""
    for name, optimizer in {"adam": Adam, "adamw": AdamW, "sgd": SGD}.items():
        store(generate_config_partial(optimizer), group="litmodule/optimizer", name=name)
    store(generate_config_partial(ConstantLR, factor=1.0, total_iters=0), group="litmodule/scheduler", name="constant")
    store(
        generate_config_partial(LinearLR, start_factor=0.01, end_factor=1.0, total_iters=100),
        group="litmodule/scheduler",
        name="linear_warmup",
    )
    store_networks(store)
