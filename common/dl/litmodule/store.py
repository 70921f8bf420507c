"""Registers optimisers, schedulers and networks."""

from hydra_zen import ZenStore
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ConstantLR, LinearLR

from common.dl.litmodule._nnmodule.store import store_configs as store_nnmodule_configs
from common.utils.hydra_zen import generate_config_partial


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
    store_nnmodule_configs(store)
