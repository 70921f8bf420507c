"""Registers the trainer, the callbacks, the loggers, and what the folders below register."""

from hydra_zen import ZenStore, builds
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping

from common.dl.config import DeepLearningSubtaskConfig, DeepLearningTaskConfig
from common.dl.engine import DEEP_LEARNING
from common.dl.litmodule.store import store_configs as store_litmodule_configs
from common.dl.outputs.metrics import NoLogger
from common.dl.outputs.wandb import BestEffortWandbLogger
from common.store import store_loggers, store_task
from common.utils.hydra_zen import generate_config, generate_config_partial


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
