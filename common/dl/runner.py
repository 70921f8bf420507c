"""The runner of deep-learning tasks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra_zen import ZenStore
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from common.check.problem import Problem
from common.dl.checks import check_continuable, check_devices, check_shapes
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.datamodule.base import BaseDataModule
from common.dl.effects import check_effects
from common.dl.engine import DEEP_LEARNING
from common.dl.litmodule.base import BaseLitModule
from common.dl.random_states import seed_everything
from common.dl.store import store_configs
from common.dl.train import train
from common.dl.trial import check_building
from common.run.ranks import connected_ranks
from common.runner import BaseTaskRunner


class DeepLearningTaskRunner(BaseTaskRunner):
    """Runs a deep-learning task: a subtask trains a network."""

    engine = DEEP_LEARNING

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the trainer, networks, optimisers, schedulers and callbacks."""
        super().store_configs(store=store)
        store_configs(store)

    @classmethod
    def check_subtask(cls, config: Mapping[Any, Any], wrong_keys: set[str], *, is_plain: bool) -> list[Problem]:
        """Returns what could not be continued exactly, and where trainer and launcher, or network and data, do not fit.

        The last is left to a plain run's first step, which finds it as soon.
        """
        problems = [*check_effects(config, wrong_keys), *check_continuable(config), *check_devices(config, wrong_keys)]
        problems += check_building(config, wrong_keys | {problem.key for problem in problems}, is_plain=is_plain)
        return problems + ([] if is_plain else check_shapes(config, wrong_keys | {problem.key for problem in problems}))

    @classmethod
    def prepare_subtask(cls, config: DictConfig) -> None:
        """Seeds before the network is built, so that its initial parameters follow from the seed."""
        seed_everything(config.config.seed)

    @staticmethod
    def run_subtask(
        trainer: partial[Trainer],
        datamodule: BaseDataModule,
        litmodule: BaseLitModule,
        logger: partial[Logger],
        callbacks: dict[str, Callback],
        config: DeepLearningSubtaskConfig,
    ) -> Any:
        """Trains, and returns the validation loss, so that a sweeper can minimise it."""
        with connected_ranks(config.device):
            return train(trainer, datamodule, litmodule, logger, callbacks, config)
