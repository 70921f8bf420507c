"""Trains a classifier of handwritten digits: `python projects/classify_mnist/train.py task=fnn`."""

from hydra_zen import ZenStore
from torch.utils.data import DataLoader

from common.dl.litmodule.classification import BaseClassificationLitModuleConfig
from common.dl.runner import DeepLearningTaskRunner
from common.utils.hydra_zen import generate_config, generate_config_partial
from projects.classify_mnist.datamodule import MNISTDataModule, MNISTDataModuleConfig
from projects.classify_mnist.litmodule import MNISTClassificationLitModule


class TaskRunner(DeepLearningTaskRunner):
    """Runs the tasks in `task/`."""

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers the project's data module and Lightning module."""
        super().store_configs(store=store)
        store(
            generate_config(
                MNISTDataModule,
                config=generate_config(MNISTDataModuleConfig),
                dataloader=generate_config_partial(DataLoader),
            ),
            name="classify_mnist",
            group="datamodule",
        )
        store(
            generate_config(MNISTClassificationLitModule, config=generate_config(BaseClassificationLitModuleConfig)),
            name="classify_mnist",
            group="litmodule",
        )


if __name__ == "__main__":
    TaskRunner.run_task()
