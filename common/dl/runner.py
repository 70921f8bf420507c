"""The runner of deep-learning tasks."""

from functools import partial
from typing import Any

from hydra_zen import ZenStore
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from common.check.problem import Problem
from common.dl.compatibility import check_shapes
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.continuable import check_continuable
from common.dl.datamodule.base import BaseDataModule
from common.dl.litmodule.base import BaseLitModule
from common.dl.random_states import seed_everything
from common.dl.store import store_configs
from common.dl.train import train
from common.runner import BaseTaskRunner


class DeepLearningTaskRunner(BaseTaskRunner):
    """Runs a deep-learning task: a subtask trains a network."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the trainer, networks, optimisers, schedulers and callbacks."""
        super().store_configs(store=store)
        store_configs(store)

    @classmethod
    def check_subtask(cls, config: DictConfig, wrong_keys: set[str], *, is_plain: bool) -> list[Problem]:
        """Returns what cannot be continued exactly, and whether the network fits the data, which a plain run finds."""
        return [*check_continuable(config), *([] if is_plain else check_shapes(config, wrong_keys))]

    @classmethod
    def prepare_subtask(cls, config: DictConfig) -> None:
        """Seeds before the network is built, so that its initial parameters follow from the seed."""
        seed_everything(config.config.seed)

    @staticmethod
    def run_subtask(
        trainer: partial[Trainer],
        datamodule: partial[BaseDataModule],
        litmodule: partial[BaseLitModule],
        logger: partial[Logger],
        callbacks: dict[str, Callback],
        config: DeepLearningSubtaskConfig,
    ) -> Any:
        """Trains, and returns the validation loss, so that a sweeper can minimise it."""
        return train(trainer, datamodule, litmodule, logger, callbacks, config)
