"""The processes that share a run: each holds everything, evaluates its share of the episodes, and hears of the rest.

They talk through torch.distributed's gloo; the launcher starts them (`common/launch/ranks.py`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

TIMEOUT = timedelta(days=7)
"""How long a rank waits for the others: a generation may take any time, and a rank that dies ends the others."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that share a run.

    Attributes:
        rank: Its number, from 0; 0 alone writes.
        num_ranks: How many there are.
    """

    rank: int = 0
    num_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, total: int) -> slice:
        """Returns this process's part of so many things; the parts differ in size by one at most."""
        return slice(total * self.rank // self.num_ranks, total * (self.rank + 1) // self.num_ranks)

    def gather(self, value: Any) -> list[Any]:
        """Returns every rank's value, in the order of ranks; every rank must call this at the same point."""
        if self.num_ranks == 1:
            return [value]
        import torch.distributed

        values: list[Any] = [None] * self.num_ranks
        torch.distributed.all_gather_object(values, value)
        return values


@contextmanager
def connected_ranks() -> Iterator[Ranks]:
    """Connects this process with the others that share its run, while the block runs."""
    ranks = Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if ranks.num_ranks == 1:
        yield ranks
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", rank=ranks.rank, world_size=ranks.num_ranks, timeout=TIMEOUT)
    try:
        yield ranks
    finally:
        torch.distributed.destroy_process_group()
