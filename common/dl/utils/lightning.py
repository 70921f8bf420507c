"""Builds the trainer, chooses batch size and number of workers, and silences what nobody can do anything about."""

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger

from common.dl.checkpointing.checkpointer import AtomicCheckpointIO, Checkpointer
from common.dl.config import DeepLearningSubtaskConfig
from common.dl.datamodule.base import BaseDataModule
from common.dl.datamodule.in_memory import InMemoryDataset
from common.dl.datamodule.own_loader import replay
from common.dl.litmodule.base import BaseLitModule
from common.dl.outputs.metrics import MetricsFileLogger
from common.dl.outputs.progress import progress_display
from common.dl.outputs.wandb import UploadRequests
from common.dl.ranks import LaunchedEnvironment
from common.dl.tuning import compile_network, fastest_batch_size, num_workers_to_keep_up
from common.foreign.pytorch_lightning import LoopHooks, install_loops, leave_signals_alone
from common.run.ranks import this_rank

log = logging.getLogger(__name__)

SILENCED_WARNINGS = {
    r".*does not have many workers.*": "the number of workers is chosen, and said, by set_batch_size_and_num_workers",
    r".*is smaller than the logging interval.*": "short epochs are usual on small data; each epoch is logged",
    r".*Checkpoint directory .* exists and is not empty.*": "a run continues in its own folder",
    r".*ended before the epoch ended and your dataloader is not resumable.*": "the sampler goes on where it was",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*": "Lightning's own use of torch",
    r".*It is recommended to use `self\.log\(.*sync_dist=True.*": "BaseLitModule adds up over all ranks itself",
    r".*`training_step` returned `None`.*": "config.on_bad_loss=skip says itself which step is skipped",
    r".*The `srun` command is available.*": "hydra/launcher says where a run goes",
    r".*no CUDA runtime is found.*": "said by torch on every machine without a GPU",
}
"""Patterns of warnings and why each may be silenced."""

SILENCED_LOGGERS = {
    "pytorch_lightning.utilities.rank_zero": "lists the devices that are not used, and advertises",
    "pytorch_lightning.accelerators.cuda": "repeats the device, which the configuration names",
}
"""Loggers that speak only from WARNING on, and why."""


def silence_messages() -> None:
    """Silences the listed messages for this process."""
    for pattern in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=pattern)
    for name in SILENCED_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def instantiate_trainer(
    trainer: partial[Trainer],
    logger: Logger,
    callbacks: dict[str, Callback],
    config: DeepLearningSubtaskConfig,
    *,
    is_continuation: bool,
) -> Trainer:
    """Builds the trainer, with the parts that every run has.

    Args:
        trainer: The configured partial.
        logger: Logs beside `metrics.csv`.
        callbacks: The task's own, by name.
        config: The subtask's settings.
        is_continuation: Whether the run goes on in a folder where it began earlier.
    """
    folder = Path(config.output_dir)
    metrics_logger = MetricsFileLogger(folder)
    ranks = this_rank()
    if not is_continuation and ranks.is_first:
        metrics_logger.file.clear()  # A launch that was cut off before its first checkpoint leaves nothing to keep.
    checkpointer = Checkpointer(config, metrics_logger.file, is_continuation=is_continuation)
    shows_progress = trainer.keywords.get("enable_progress_bar") is not False
    own: list[Callback] = [checkpointer, Preparation(config), UploadRequests(folder)]
    own += [progress_display()] if shows_progress else []
    plugins = [AtomicCheckpointIO(), LaunchedEnvironment()]
    live = trainer(
        logger=[metrics_logger, logger],
        callbacks=[*own, *callbacks.values(), *_as_list(trainer.keywords.get("callbacks"))],
        plugins=[*_as_list(trainer.keywords.get("plugins")), *plugins],
        strategy=_strategy(trainer.keywords.get("strategy", "auto"), ranks.num_ranks),
        enable_checkpointing=False,  # The checkpointer above does it.
        enable_model_summary=False,
    )
    leave_signals_alone(live)  # Ours set a flag.
    before_first, after = partial(checkpointer.before_first_batch, live), partial(checkpointer.after_batch, live)
    install_loops(live, LoopHooks(before_first, after, partial(replay, live)))
    return live


def _as_list(given: Any) -> list[Any]:
    """Returns what Lightning takes as nothing, as one object, or as a list, as a list."""
    return given if isinstance(given, list) else [] if given is None else [given]


def _strategy(given: Any, num_ranks: int) -> Any:
    """Returns how ranks share the work; one rank has nothing to share, whatever is asked for.

    Lightning's own choice for several would be to fork in an interactive interpreter.
    """
    if num_ranks == 1:
        return "auto"
    return "ddp" if given == "auto" else given


class Preparation(Callback):
    """Chooses batch size and workers, and compiles, once the data is there and the ranks can talk to each other.

    Args:
        config: The subtask's settings.
    """

    def __init__(self, config: DeepLearningSubtaskConfig) -> None:
        self.config = config
        self.is_done = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lightning's hook before a network is first used."""
        datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it, and declares it nowhere.
        if self.is_done or not isinstance(pl_module, BaseLitModule) or not isinstance(datamodule, BaseDataModule):
            return
        self.is_done = True
        datamodule.fill()
        set_batch_size_and_num_workers(pl_module, datamodule, trainer.strategy.root_device)
        if self.config.compile:
            compile_network(pl_module, datamodule, trainer.strategy.root_device)


def set_batch_size_and_num_workers(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device) -> None:
    """Takes the configured batch size and number of workers, or chooses them; logs what was chosen and why.

    On several ranks, all use the smallest batch size and the largest number of workers that any of them chose.

    Args:
        litmodule: Tried out on a copy, on a GPU; not changed.
        datamodule: Receives the choice. Its `setup` has been called.
        device: Where the network will run.
    """
    batch_size, why = _choose_batch_size(litmodule, datamodule, device)
    datamodule.per_device_batch_size = -_max_over_ranks(-batch_size)
    log.info("Batch size: %d per device (%s).", datamodule.per_device_batch_size, why)
    num_workers, why = _choose_num_workers(litmodule, datamodule, device)
    datamodule.per_device_num_workers = _max_over_ranks(num_workers)
    log.info("Data-loading workers: %d (%s).", datamodule.per_device_num_workers, why)


def _choose_batch_size(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device) -> tuple[int, str]:
    config = datamodule.config
    if config.fixed_per_device_batch_size is not None:
        return config.fixed_per_device_batch_size, "fixed in the configuration"
    num_samples = len(datamodule.datasets.train)  # type: ignore[arg-type]  # setup() has filled it.
    limit = min(config.max_per_device_batch_size or num_samples, num_samples)
    if device.type == "cpu":
        return max(1, min(num_samples // 100, limit)), f"1 % of {num_samples:,} training samples, at most {limit:,}"
    return fastest_batch_size(litmodule, datamodule, device, limit), f"the fastest that fits, at most {limit:,}"


def _choose_num_workers(litmodule: BaseLitModule, datamodule: BaseDataModule, device: torch.device) -> tuple[int, str]:
    config = datamodule.config
    if config.fixed_per_device_num_workers is not None:
        return config.fixed_per_device_num_workers, "fixed in the configuration"
    if isinstance(datamodule.datasets.train, InMemoryDataset):
        return 0, "the data lies in memory"
    limit = torch.get_num_threads()  # The launcher gives torch as many threads as the job has CPUs.
    if config.max_per_device_num_workers is not None:
        limit = min(limit, config.max_per_device_num_workers)
    wanted = num_workers_to_keep_up(litmodule, datamodule, device)
    return min(wanted, limit), f"{wanted} keep the device busy, {limit} allowed"


def _max_over_ranks(value: int) -> int:
    return int(max(this_rank().gather(value)))
