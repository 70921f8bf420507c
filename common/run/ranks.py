"""The processes that share a run: each knows its number, and hears of the others.

The launcher starts them and gives each its number in the environment (`common/launch/job.py`); this is the one place
that connects them, for either engine, and parts them at every end. A process that left connected could end by abort.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from common.config import Device
from common.errors import RunError, RunStoppedError
from common.run import stop

MEETING_TIMEOUT_S = 600.0
"""How long a rank waits in the beginning until all others are there: their start-up may differ by minutes."""

TIMEOUT = timedelta(days=7)
"""How long a rank waits for the others later on: a step may take any time, and a rank that dies ends the others."""

POLL_S = 0.05


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


def this_rank() -> Ranks:
    """Returns this process's place among those that share its run, known from its start."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def connected_ranks(device: Device = "cpu", timeout_s: float = MEETING_TIMEOUT_S) -> Iterator[Ranks]:
    """Connects this process with the others that share its run, while the block runs.

    Args:
        device: Where the tensors lie that the ranks exchange.
        timeout_s: How long to wait for the others.

    Raises:
        RunError: not all of them came in time.
        RunStoppedError: a signal asked this process to stop while it waited.
    """
    ranks = this_rank()
    if ranks.num_ranks == 1:
        yield ranks
        return
    import torch.distributed

    _meet(ranks, device, timeout_s)
    try:
        yield ranks
    finally:
        torch.distributed.destroy_process_group()


def _meet(ranks: Ranks, device: Device, timeout_s: float) -> None:
    """Waits for the others in a thread of its own: torch waits where Python cannot hear a signal."""
    errors: list[Exception] = []

    def connect() -> None:
        try:
            _connect(ranks, device)
        except Exception as error:  # Whatever the network may do.
            errors.append(error)

    thread = threading.Thread(target=connect, daemon=True, name="meet-ranks")
    deadline = time.monotonic() + timeout_s
    thread.start()
    while thread.is_alive():
        thread.join(POLL_S)
        if thread.is_alive() and stop.is_stop_requested():
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} before all {ranks.num_ranks} ranks were there. "
                "The same command continues."
            )
        if thread.is_alive() and time.monotonic() > deadline:
            raise RunError(_absence(ranks, f"not all of them were there after {timeout_s:.0f} s"))
    if errors:
        raise RunError(_absence(ranks, str(errors[0]).partition("\n")[0])) from errors[0]


def _connect(ranks: Ranks, device: Device) -> None:
    import torch

    own = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if device == "gpu" else None
    if own is not None:
        torch.cuda.set_device(own)
    torch.distributed.init_process_group(
        "gloo" if own is None else "nccl",
        rank=ranks.rank,
        world_size=ranks.num_ranks,
        timeout=TIMEOUT,
        device_id=own,
    )


def _absence(ranks: Ranks, what: str) -> str:
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return (
        f"Rank {ranks.rank} of {ranks.num_ranks} did not meet the others at {place}: {what}. Look for an error in "
        "rank_<number>.log in the run's folder; if there is none, name the network that joins the machines in "
        "GLOO_SOCKET_IFNAME or NCCL_SOCKET_IFNAME."
    )
