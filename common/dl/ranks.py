"""What the processes of one run tell each other, as tensors; what else they do stands in `common/run/ranks.py`."""

import torch
import torch.distributed
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning import Trainer


class LaunchedEnvironment(LightningEnvironment):
    """Tells Lightning which rank this is, in a SLURM job too, and that all have been started: it never starts one."""

    @property
    def creates_processes_externally(self) -> bool:
        """Whether somebody else starts the ranks: the launcher always has."""
        return True

    def teardown(self) -> None:
        """Leaves the environment as the launcher made it; Lightning's own would forget how many ranks there are."""


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
