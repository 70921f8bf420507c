"""Trains the matrix's classifier: `python benchmarks/matrix/learning/train.py task=classify`."""

from hydra_zen import ZenStore

from benchmarks.matrix.learning.datamodule import LearningDataModule, LearningDataModuleConfig
from benchmarks.matrix.learning.litmodule import LearningLitModule, LearningLitModuleConfig
from common.dl.datamodule.store import store_datamodule
from common.dl.litmodule.store import store_litmodule
from common.dl.runner import DeepLearningTaskRunner


class TaskRunner(DeepLearningTaskRunner):
    """Runs the task in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data module and Lightning module."""
        super().store_configs(store=store)
        store_datamodule(store, "learning", LearningDataModule, LearningDataModuleConfig)
        store_litmodule(store, "learning", LearningLitModule, LearningLitModuleConfig)


if __name__ == "__main__":
    TaskRunner.run_task()
