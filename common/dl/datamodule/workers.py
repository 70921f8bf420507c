"""The processes that load data: what they leave to the process they serve, and which random numbers they draw."""

from collections.abc import Callable, Sized
from typing import Any

from torch.utils.data import Dataset

from common.dl.datamodule.sampler import SeededIndices
from common.dl.generators import generators_in, reseed
from common.dl.random_states import seed_everything
from common.run import stop


class SeededPerBatch(Dataset[Any]):
    """Seeds a worker before each batch, so that a batch does not depend on which others the worker loaded before.

    A run that continues in mid-epoch starts new workers, which then draw what the former ones would have drawn. Without
    workers nothing needs to be seeded: the run's own random states are in its checkpoints.

    Args:
        dataset: Draws random numbers as it likes.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self._generators: list[Any] | None = None

    def __len__(self) -> int:
        """Returns the number of samples."""
        assert isinstance(self.dataset, Sized)
        return len(self.dataset)

    def __getitem__(self, indices: SeededIndices) -> Any:
        """Returns the batch that a dataset in memory cuts at once."""
        self._seed(indices.seed)
        return self.dataset[indices]

    def __getitems__(self, indices: SeededIndices) -> list[Any]:
        """Returns a batch's samples, one by one; torch's loaders look for this method first."""
        self._seed(indices.seed)
        fetch = getattr(self.dataset, "__getitems__", None)
        samples: list[Any] = fetch(indices) if fetch else [self.dataset[index] for index in indices]
        return samples

    def _seed(self, seed: int) -> None:
        if self._generators is None:  # Of this worker's copy.
            self._generators = generators_in(self.dataset)
        seed_everything(seed)
        reseed(self._generators, seed)


def start_worker(then: Callable[[int], None] | None, worker_id: int) -> None:
    """Lets a worker leave the stop signals to the process that it serves.

    Args:
        then: The task's own `worker_init_fn`, if it has one.
        worker_id: The worker's number, from 0.
    """
    stop.ignore_signals()
    if then is not None:
        then(worker_id)
