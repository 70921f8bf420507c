"""What the processes of one run tell each other."""

from typing import Any

import torch
import torch.distributed
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_only


def is_first_rank() -> bool:
    """Returns whether this process is the one that writes; known before there is a trainer."""
    return not getattr(rank_zero_only, "rank", 0)


def any_rank(trainer: Trainer, *flags: bool) -> list[bool]:
    """Returns each flag as true if it is true on any rank; every rank must call this at the same point.

    Args:
        trainer: Knows the ranks.
        *flags: This rank's.
    """
    if trainer.world_size == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.int32, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
    return [bool(value) for value in values.tolist()]


def mean_over_ranks(trainer: Trainer, total: torch.Tensor, count: int) -> torch.Tensor:
    """Returns the mean of what all ranks added up; every rank must call this at the same point.

    Args:
        trainer: Knows the ranks.
        total: This rank's sum.
        count: How many numbers are in the sum.
    """
    sums = torch.stack([total, torch.tensor(float(count), dtype=total.dtype, device=total.device)])
    if trainer.world_size > 1:
        torch.distributed.all_reduce(sums)
    return (sums[0] / sums[1]).float()


def gather(trainer: Trainer, value: Any) -> list[Any]:
    """Returns every rank's value, in the order of ranks; every rank must call this at the same point."""
    if trainer.world_size == 1:
        return [value]
    values: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(values, value)
    return values
