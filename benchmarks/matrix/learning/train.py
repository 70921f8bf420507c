"""Trains the matrix's classifier: `python benchmarks/matrix/learning/train.py task=classify`."""

from hydra_zen import ZenStore
from torch.utils.data import DataLoader

from benchmarks.matrix.learning.datamodule import (
    LearningDataModule,
    LearningDataModuleConfig,
    OwnLoaderDataModule,
)
from benchmarks.matrix.learning.litmodule import LearningLitModule, LearningLitModuleConfig
from common.dl.runner import DeepLearningTaskRunner
from common.utils.hydra_zen import generate_config, generate_config_partial


class TaskRunner(DeepLearningTaskRunner):
    """Runs the task in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data modules and Lightning module."""
        super().store_configs(store=store)
        for name, datamodule in {"learning": LearningDataModule, "own_loader": OwnLoaderDataModule}.items():
            store(
                generate_config(
                    datamodule,
                    config=generate_config(LearningDataModuleConfig),
                    dataloader=generate_config_partial(DataLoader),
                ),
                name=name,
                group="datamodule",
            )
        store(
            generate_config(LearningLitModule, config=generate_config(LearningLitModuleConfig)),
            name="learning",
            group="litmodule",
        )


if __name__ == "__main__":
    TaskRunner.run_task()
