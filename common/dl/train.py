"""The one training loop that every deep-learning project shares."""

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import Logger

from common.config import CONTINUE
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.datamodule.base import BaseDataModule
from common.dl.datamodule.sampler import order_seed
from common.dl.engine import DEEP_LEARNING, MONITOR
from common.dl.litmodule.base import BaseLitModule
from common.dl.outputs.wandb import BestEffortWandbLogger, instantiate_logger
from common.dl.random_states import seed_everything
from common.dl.utils.lightning import instantiate_trainer, silence_messages
from common.run.checkpoint import BEST, last_checkpoint, read_checkpoint
from common.run.plots import plot_curves
from common.run.summary import print_summary
from common.run.upload import Uploads
from common.run.wandb import sync_command

log = logging.getLogger(__name__)


def train(
    trainer: partial[Trainer],
    datamodule: BaseDataModule,
    litmodule: BaseLitModule,
    logger: partial[Logger],
    callbacks: dict[str, Callback],
    config: DeepLearningSubtaskConfig,
) -> float:
    """Fits, validates, and tests where there is a test set.

    What is validated and tested, and what `common.run.load` returns, is the network with the best validation loss.

    Args:
        trainer: Builds the trainer.
        datamodule: The data module.
        litmodule: The Lightning module; its network's first parameters follow from the seed that was set before.
        logger: Builds the logger beside `metrics.csv`.
        callbacks: Further callbacks, by name.
        config: The subtask's settings.

    Returns:
        The validation loss; NaN where nothing is validated.
    """
    silence_messages()
    seed_everything(config.seed)
    folder = Path(config.output_dir)
    checkpoints = folder / DEEP_LEARNING.checkpoints
    own_checkpoint = last_checkpoint(checkpoints)
    start = own_checkpoint or (None if config.ckpt_path in (None, CONTINUE) else Path(str(config.ckpt_path)))
    live_logger = instantiate_logger(logger, folder)
    live_trainer = instantiate_trainer(
        trainer, live_logger, callbacks, config, is_continuation=own_checkpoint is not None
    )
    live_trainer.precision_plugin.convert_module(litmodule)  # Lightning would do it after it has read a checkpoint.
    if live_trainer.global_rank:  # Other random numbers on each rank, once the networks were built alike.
        seed_everything(order_seed(config.seed, live_trainer.global_rank))
    log.info("Network: %s parameters.", f"{sum(parameter.numel() for parameter in litmodule.nnmodule.parameters()):,}")
    if config.evaluate_only:
        litmodule.load_state_dict(read_checkpoint(Path(str(start)))["state_dict"])
    else:
        litmodule.on_bad_loss = config.on_bad_loss
        live_trainer.fit(litmodule, datamodule=datamodule, ckpt_path=start, weights_only=True)
        if (checkpoints / BEST).is_file():
            litmodule.load_state_dict(read_checkpoint(checkpoints / BEST)["state_dict"])
    metrics = evaluate(live_trainer, litmodule, datamodule)
    loss = metrics.get(MONITOR, math.nan)
    if not live_trainer.is_global_zero:
        return loss
    plots = [*plot_curves(folder), *_plot_samples(live_trainer, litmodule, datamodule, folder)]
    print_summary(folder, metrics, plots, finish_logger(live_logger, folder))
    return loss


def evaluate(trainer: Trainer, litmodule: BaseLitModule, datamodule: BaseDataModule) -> dict[str, float]:
    """Validates, and tests where there is a test set.

    Args:
        trainer: The run's trainer.
        litmodule: Holds the network to evaluate.
        datamodule: Holds the data.

    Returns:
        The metrics by name.
    """
    results = [*trainer.validate(litmodule, datamodule=datamodule, verbose=False)]
    if datamodule.datasets.test is not None:
        results += trainer.test(litmodule, datamodule=datamodule, verbose=False)
    return {name: value for result in results for name, value in result.items()}


def finish_logger(logger: Logger, folder: Path) -> str | None:
    """Ends the W&B run.

    Args:
        logger: The run's logger.
        folder: The run's folder.

    Returns:
        Where to see the run, or how to upload it; None where W&B is off.
    """
    if not isinstance(logger, BestEffortWandbLogger):
        return None
    run = logger.experiment
    address = sync_command(folder) if run.settings.mode == "offline" else str(run.url)
    logger.finish()
    Uploads(folder).request()
    return address


def _plot_samples(trainer: Trainer, litmodule: BaseLitModule, datamodule: BaseDataModule, folder: Path) -> list[Path]:
    split: Any = "test" if datamodule.datasets.test is not None else "val"
    batch = next(iter(datamodule.make_dataloader(split)))
    device = trainer.strategy.root_device
    batch = datamodule.transform_batch(datamodule.transfer_batch_to_device(batch, device, 0), split)
    litmodule.to(device).eval()
    with torch.no_grad():
        return litmodule.save_plots(batch, folder)
