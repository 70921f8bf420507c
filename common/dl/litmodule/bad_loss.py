"""What happens when a loss is not a number."""

import logging

from pytorch_lightning import Trainer

from common.dl.config import MAX_SKIPPED_STEPS, OnBadLoss
from common.dl.datamodule.own_loader import own_sampler
from common.errors import RunError

log = logging.getLogger(__name__)

NUM_SHOWN_INDICES = 16


def refuse_bad_loss(trainer: Trainer, loss: float, batch_idx: int, policy: OnBadLoss, num_in_row: int) -> None:
    """Warns of a bad loss, or ends the run.

    Args:
        trainer: The run's trainer.
        loss: NaN or infinite.
        batch_idx: The batch's number in its epoch.
        policy: What the configuration wants.
        num_in_row: How many bad losses came one after the other, this one included.

    Raises:
        RunError: the policy is `stop`, the run has several ranks (which cannot skip a step on one of them), or too many
            losses in a row were bad.
    """
    text = _describe(trainer, loss, batch_idx)
    if policy == "stop" or trainer.world_size > 1:
        raise RunError(
            f"{text} The state before this step is saved. Lower the learning rate, look at these samples, or give "
            "config.on_bad_loss=skip to leave such steps out."
        )
    if num_in_row > MAX_SKIPPED_STEPS:
        raise RunError(f"{text} More than {MAX_SKIPPED_STEPS} steps in a row were skipped for that.")
    log.warning("%s The step is skipped (%d in a row).", text, num_in_row)


def _describe(trainer: Trainer, loss: float, batch_idx: int) -> str:
    sampler = own_sampler(trainer.train_dataloader)
    indices = [] if sampler is None else sampler.indices_of(batch_idx)
    shown = ", ".join(map(str, indices[:NUM_SHOWN_INDICES])) + (", …" if len(indices) > NUM_SHOWN_INDICES else "")
    samples = f", samples {shown}" if indices else ""
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    rates = ", ".join(dict.fromkeys(f"{group['lr']:.6g}" for group in groups))
    return (
        f"The loss is {loss} at step {trainer.global_step} (epoch {trainer.current_epoch}, batch {batch_idx}"
        f"{samples}; learning rate {rates})."
    )
