"""The order of batches: a pure function of the seed and the epoch."""

from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import Sampler, SequentialSampler


class SeededIndices(list[int]):
    """The indices of a batch, with the seed of whatever random numbers its loading draws in a worker.

    Attributes:
        seed: A function of seed, epoch, rank and the batch's number alone.
    """

    def __init__(self, indices: Iterable[int], seed: int) -> None:
        super().__init__(indices)
        self.seed = seed


class EpochBatchSampler(Sampler[list[int]]):
    """Yields the indices of each batch of one epoch.

    The order depends on the seed and on the epoch alone: not on earlier epochs, on other random numbers drawn, or on
    how many workers load the data. With several ranks, each yields its slice of every global batch.

    Lightning calls `set_epoch` before each epoch.

    Attributes:
        start: The epoch in whose middle a run continues, and the batch with which that epoch begins.
        workers_generator: Gives a loader's workers their seeds, which also follow from (seed, epoch) alone; without it
            torch would draw them from the run's own random state.

    Args:
        num_samples: How many samples the dataset has.
        batch_size: Samples per batch and rank.
        shuffle: Whether the order changes from epoch to epoch, or samples are drawn; otherwise it is the dataset's own.
        drop_last: Whether an incomplete last batch is left out.
        seed: Any whole number from 0.
        rank: This process's number, from 0.
        num_ranks: How many processes share each global batch.
        weights: How often each sample is drawn, in proportion, with replacement; None serves each once an epoch.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        weights: torch.Tensor | None = None,
    ) -> None:
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.weights = weights
        self.start = {"epoch": 0, "batch": 0}
        self.workers_generator = torch.Generator()
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order is yielded next."""
        self.epoch = epoch
        self.workers_generator.manual_seed(order_seed(self.seed, epoch))

    @property
    def sampler(self) -> "EpochBatchSampler":
        """Where Lightning looks for `set_epoch` when this stands as a loader's `batch_sampler`."""
        return self

    def __len__(self) -> int:
        """Returns the number of batches in an epoch, the same on every rank."""
        global_batch_size = self.batch_size * self.num_ranks
        whole, rest = divmod(self.num_samples, global_batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    def __iter__(self) -> Iterator[SeededIndices]:
        """Yields one epoch's batches."""
        first = self.start["batch"] if self.epoch == self.start["epoch"] else 0
        order = self._order()
        epoch_seed = order_seed(self.seed, self.epoch)
        for index in range(first, len(self)):
            indices: list[int] = self._slice(self._global_batch(order, index)).tolist()
            yield SeededIndices(indices, order_seed(epoch_seed, index * self.num_ranks + self.rank))

    def indices_of(self, index: int) -> list[int]:
        """Returns the dataset's indices of a batch of the current epoch, over all ranks."""
        return self._global_batch(self._order(), index).tolist()

    def _global_batch(self, order: torch.Tensor, index: int) -> torch.Tensor:
        global_batch_size = self.batch_size * self.num_ranks
        return order[index * global_batch_size : (index + 1) * global_batch_size]

    def _order(self) -> torch.Tensor:
        if not self.shuffle:
            return torch.arange(self.num_samples)
        generator = torch.Generator().manual_seed(order_seed(self.seed, self.epoch))
        if self.weights is None:
            return torch.randperm(self.num_samples, generator=generator)
        sums = self.weights.double().cumsum(0)  # torch.multinomial takes at most 2^24 weights.
        drawn = torch.rand(self.num_samples, dtype=torch.float64, generator=generator) * sums[-1]
        return torch.searchsorted(sums, drawn, right=True)

    def weight_of(self, index: int) -> float:
        """Returns by what to weigh this rank's mean loss of a batch, so that the mean over ranks is over samples."""
        batch = self._global_batch(torch.arange(self.num_samples), index)
        return len(torch.tensor_split(batch, self.num_ranks)[self.rank]) * self.num_ranks / len(batch)

    def _slice(self, batch: torch.Tensor) -> torch.Tensor:
        """Returns this rank's part of a global batch; a rank never gets less than one sample."""
        parts = torch.tensor_split(batch, self.num_ranks)
        return parts[self.rank] if len(parts[self.rank]) else batch[-1:]


class InOrderBatchSampler(EpochBatchSampler, SequentialSampler):  # type: ignore[misc]  # Indices there, batches here.
    """Yields batches in the dataset's own order, in a way that Lightning's `overfit_batches` recognises."""


def order_seed(seed: int, epoch: int) -> int:
    """Mixes seed and epoch so that neighbouring ones share nothing (the finaliser of SplitMix64).

    Source: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", section 5.
    """
    mask = 2**64 - 1
    mixed = (seed * 0x9E3779B97F4A7C15 + epoch + 1) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return (mixed ^ (mixed >> 31)) % 2**63
