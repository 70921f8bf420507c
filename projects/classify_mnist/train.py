"""Trains a classifier of handwritten digits: `python projects/classify_mnist/train.py task=fnn`."""

from hydra_zen import ZenStore

from common.dl.datamodule.store import store_datamodule
from common.dl.litmodule.classification import BaseClassificationLitModuleConfig
from common.dl.litmodule.store import store_litmodule
from common.dl.runner import DeepLearningTaskRunner
from projects.classify_mnist.datamodule import MNISTDataModule, MNISTDataModuleConfig
from projects.classify_mnist.litmodule import MNISTClassificationLitModule


class TaskRunner(DeepLearningTaskRunner):
    """Runs the tasks in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data module and Lightning module."""
        super().store_configs(store=store)
        store_datamodule(store, "classify_mnist", MNISTDataModule, MNISTDataModuleConfig)
        store_litmodule(store, "classify_mnist", MNISTClassificationLitModule, BaseClassificationLitModuleConfig)


if __name__ == "__main__":
    TaskRunner.run_task()
