"""Loaders that a task builds itself: their batches, too, are a pure function of (seed, epoch).

What such a loader does is unknown, so that a run that continues within an epoch lets it serve the epoch from its
beginning, with the same random numbers, and leaves out what the network has seen.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.utilities.combined_loader import CombinedLoader
from torch.utils.data import DataLoader

from common.dl.datamodule.sampler import EpochBatchSampler, order_seed
from common.dl.datamodule.workers import start_worker
from common.dl.generators import generators_in, reseed
from common.dl.random_states import RandomStream
from common.foreign.pytorch_lightning import combined, served_epoch, tell_epoch


def replay(trainer: Trainer, request: Callable[[], Any]) -> Any:
    """Returns a task's training loaders, such that they can begin within an epoch.

    Args:
        trainer: Its data module says where to begin.
        request: Asks the task for its loaders; whatever it draws is a function of the seed and the epoch.
    """
    datamodule: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares none.
    with RandomStream(order_seed(datamodule.config.seed, trainer.current_epoch)):
        loaders = request()
    if isinstance(loaders, DataLoader) and own_sampler(loaders) is not None:
        return loaders
    return ReplayedLoader(loaders, datamodule, partial(served_epoch, trainer))


def own_sampler(loader: Any) -> EpochBatchSampler | None:
    """Returns the sampler that `BaseDataModule.make_dataloader` gave a loader; None where a task built the loader."""
    samplers = [getattr(loader, name, None) for name in ("sampler", "batch_sampler")]
    return next((sampler for sampler in samplers if isinstance(sampler, EpochBatchSampler)), None)


class ReplayedLoader(CombinedLoader):
    """Serves each epoch of a task's loaders with random numbers that follow from the seed and the epoch.

    Args:
        loaders: What the task's `train_dataloader` returned.
        datamodule: Has the seed, and the position at which a run continues.
        epoch: Returns the epoch that is served.
    """

    def __init__(self, loaders: Any, datamodule: Any, epoch: Callable[[], int]) -> None:
        super().__init__(*combined(loaders))
        self._datamodule = datamodule
        self._epoch = epoch
        self._stream = RandomStream(0)
        for loader in self.flattened:
            _prepare(loader)

    def __iter__(self) -> "ReplayedLoader":
        """Begins the epoch that is served, at the position if it is that of the epoch."""
        epoch, position = self._epoch(), self._datamodule.position
        seed = order_seed(self._datamodule.config.seed, epoch)
        self._stream = RandomStream(seed)
        self.reset()  # Workers that live on would go on with the random states of the epoch before.
        reseed(generators_in(self.flattened), seed)
        with self._stream:
            for loader in self.flattened:
                tell_epoch(loader, epoch)
            super().__iter__()
            num_seen = position["batch"] if position["epoch"] == epoch else 0
            for _ in islice(iter(super().__next__, None), num_seen):
                pass
        return self

    def __next__(self) -> Any:
        """Returns the next batch, as `CombinedLoader` does."""
        with self._stream:
            return super().__next__()


def _prepare(loader: Any) -> None:
    """Lets a loader begin each epoch afresh, and its workers leave the stop signals to the process they serve."""
    sampler = own_sampler(loader)
    if sampler is not None:  # It would begin at the position by itself.
        sampler.start = {"epoch": 0, "batch": 0}
    if isinstance(loader, DataLoader) and loader.num_workers:
        loader.worker_init_fn = partial(start_worker, loader.worker_init_fn)
