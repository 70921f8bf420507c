"""Refuses, before anything starts, what a run could not continue to the same result, and says what does the same."""

from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning import callbacks
from pytorch_lightning.callbacks.spike import SpikeDetection

from common.check.problem import Problem
from common.check.tree import join, nodes, select, target_of
from common.dl.datamodule.base import BaseDataModule

AVERAGE = (
    "it exchanges the network for its average while checkpoints are taken. Keep the average within the Lightning "
    "module, as common/dl/litmodule/cond1d_target1d does with litmodule.config.average_decay"
)

REFUSED_CALLBACKS: dict[type[callbacks.Callback], str] = {
    callbacks.Checkpoint: "a run saves its checkpoints itself: the best and the last, in its folder lightning/",
    callbacks.StochasticWeightAveraging: AVERAGE,
    callbacks.WeightAveraging: AVERAGE,
    callbacks.BatchSizeFinder: (
        "it tries sizes out at each launch. Leave datamodule.config.fixed_per_device_batch_size=null, which chooses "
        "one for the run"
    ),
    callbacks.LearningRateFinder: "it tries rates out at each launch. Sweep over litmodule.optimizer.lr",
    callbacks.ModelPruning: (
        "its checkpoints hold pruned parameters in place of those that it trains. Prune the network that "
        "common.run.load returns"
    ),
    callbacks.BaseFinetuning: (
        "what it has thawed is in no checkpoint. Set requires_grad of parameters in the Lightning module, in "
        "on_train_epoch_start: that is saved"
    ),
    SpikeDetection: "it skips batches by what a launch has seen. Use config.on_bad_loss",
    callbacks.ProgressBar: "a run has a bar already; trainer.enable_progress_bar=false turns it off",
}
"""For each class of Lightning's callbacks, subclasses included, why it is refused, and what to do instead."""


def check_continuable(config: Mapping[Any, Any]) -> list[Problem]:
    """Returns a problem for each part of a configuration that would end an interrupted run with another result.

    Args:
        config: A configuration, resolved, in plain containers.
    """
    return [*_refused_callbacks(config), *_refused_settings(config), *_refused_loaders(config)]


def reason_against(callback: type[Any]) -> str | None:
    """Returns why a class of callbacks is refused, and what to do instead; None where it is not."""
    reasons = (reason for refused, reason in REFUSED_CALLBACKS.items() if issubclass(callback, refused))
    return next(reasons, None)


def _refused_callbacks(config: Mapping[Any, Any]) -> Iterator[Problem]:
    for root in ("callbacks", "trainer.callbacks"):
        for path, node in nodes(select(config, root), root):
            callback = _class_of(node)
            reason = reason_against(callback)
            if reason is not None:
                yield Problem(path, f"{path}: {callback.__name__} is refused: {reason}.")


def _refused_settings(config: Mapping[Any, Any]) -> Iterator[Problem]:
    interval = select(config, "trainer.val_check_interval")
    if interval is not None and not isinstance(interval, int | float):
        key = join("trainer", "val_check_interval")
        yield Problem(
            key,
            f"{key}={interval} is refused: validating by the clock cannot be continued to the same result. Give a "
            "number of batches, or a part of the epoch.",
        )


def _refused_loaders(config: Mapping[Any, Any]) -> Iterator[Problem]:
    """Several ranks would all be served the same samples."""
    datamodule = _class_of(select(config, "datamodule"))
    numbers = [select(config, f"trainer.{key}") for key in ("devices", "num_nodes")]
    is_own = issubclass(datamodule, BaseDataModule)
    is_own = is_own and datamodule.train_dataloader is not BaseDataModule.train_dataloader
    if is_own and any(isinstance(number, int) and number > 1 for number in numbers):
        yield Problem(
            "datamodule",
            f"datamodule: {datamodule.__name__} has a train_dataloader() of its own, which on several ranks would "
            "serve all of them the same samples. Write train_weights() instead, or use one rank: "
            "hydra.launcher.tasks_per_node=1 hydra.launcher.nodes=1.",
        )


def _class_of(node: Any) -> Any:
    """Returns the class that a node builds; `object` where it builds none."""
    target = target_of(node) if isinstance(node, dict) else None
    return target if isinstance(target, type) else object
