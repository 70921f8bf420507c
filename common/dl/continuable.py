"""Lightning's callbacks with which a run could not be continued to the same result, and what to use instead."""

from typing import Any

from pytorch_lightning import callbacks
from pytorch_lightning.callbacks.spike import SpikeDetection

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


def reason_against(callback: type[Any]) -> str | None:
    """Returns why a class of callbacks is refused, and what to do instead; None where it is not."""
    reasons = (reason for refused, reason in REFUSED_CALLBACKS.items() if issubclass(callback, refused))
    return next(reasons, None)
