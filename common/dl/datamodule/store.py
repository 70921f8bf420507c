"""Registers data modules."""

from hydra_zen import ZenStore
from torch.utils.data import DataLoader

from common.dl.datamodule.base import BaseDataModule, BaseDataModuleConfig
from common.utils.hydra_zen import generate_config, generate_config_partial


def store_datamodule(
    store: ZenStore, name: str, datamodule: type[BaseDataModule], config: type[BaseDataModuleConfig]
) -> None:
    """Registers a project's data module.

    Args:
        store: Where to register it.
        name: Its name in the group `datamodule`, usually the project's.
        datamodule: The class.
        config: The class's configuration.
    """
    store(
        generate_config_partial(
            datamodule,
            config=generate_config(
                config, data_dir="${config.data_dir}", device="${config.device}", seed="${config.seed}"
            ),
            dataloader=generate_config_partial(DataLoader),
        ),
        group="datamodule",
        name=name,
    )
