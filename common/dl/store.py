"""Registers the trainer, the callbacks, the loggers, and what the folders below register."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from hydra_zen import ZenStore, builds
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from common.check.annotations import declare
from common.dl.config import DeepLearningSubtaskConfig, DeepLearningTaskConfig
from common.dl.engine import DEEP_LEARNING
from common.dl.litmodule.store import store_configs as store_litmodule_configs
from common.dl.outputs.metrics import NoLogger
from common.dl.outputs.wandb import BestEffortWandbLogger
from common.store import store_loggers, store_task
from common.utils.beartype import ge
from common.utils.hydra_zen import generate_config, generate_config_partial

declare(
    DataLoader,
    batch_size=Annotated[int, ge(1)] | None,
    shuffle=bool | None,
    num_workers=Annotated[int, ge(0)],
    collate_fn=Callable[..., Any] | None,
    pin_memory=bool,
    drop_last=bool,
    timeout=Annotated[float, ge(0)],
    worker_init_fn=Callable[..., Any] | None,
    multiprocessing_context=Literal["fork", "spawn", "forkserver"] | None,
    prefetch_factor=Annotated[int, ge(1)] | None,
    persistent_workers=bool,
    pin_memory_device=str,
    in_order=bool,
)

declare(
    Trainer,  # Its own annotations have no bounds, and it takes what makes no sense.
    max_epochs=Annotated[int, ge(-1)] | None,
    min_epochs=Annotated[int, ge(0)] | None,
    max_steps=Annotated[int, ge(-1)],
    min_steps=Annotated[int, ge(0)] | None,
    **{f"limit_{stage}_batches": Annotated[int | float, ge(0)] | None for stage in ("train", "val", "test", "predict")},
    overfit_batches=Annotated[int | float, ge(0)],
    num_sanity_val_steps=Annotated[int, ge(-1)] | None,
    log_every_n_steps=Annotated[int, ge(0)] | None,
    accumulate_grad_batches=Annotated[int, ge(1)],
    check_val_every_n_epoch=Annotated[int, ge(1)] | None,
    reload_dataloaders_every_n_epochs=Annotated[int, ge(0)],
    gradient_clip_val=Annotated[int | float, ge(0)] | None,
)


def store_configs(store: ZenStore) -> None:
    """Registers everything that a deep-learning task picks from, except the project's own modules."""
    store_task(store, DeepLearningTaskConfig, DeepLearningSubtaskConfig)
    store(
        generate_config_partial(
            Trainer,
            accelerator="${config.device}",
            num_nodes="${hydra:launcher.nodes}",
            devices="${hydra:launcher.tasks_per_node}",
            use_distributed_sampler=False,  # The data module's sampler knows the ranks.
            default_root_dir=f"${{config.output_dir}}/{DEEP_LEARNING.checkpoints}/",
            gradient_clip_val=1.0,
        ),
        group="trainer",
        name="base",
    )
    store(builds(dict), group="callbacks", name="none")
    store(
        builds(dict, early_stopping=generate_config(EarlyStopping, monitor="val/loss")),
        group="callbacks",
        name="early_stopping",
    )
    store_loggers(store, BestEffortWandbLogger, NoLogger)
    store_litmodule_configs(store)
