"""Saves a run between two generations, so that it continues to the same result, bit for bit."""

import time
from pathlib import Path
from typing import Any

from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.engine import NEUROEVOLUTION
from common.run.checkpoint import LAST, read_checkpoint, read_newest_checkpoint, write_checkpoint

NEEDED = ("records", "elapsed_s")
"""The keys without which a run cannot go on from a checkpoint."""


class Checkpointer:
    """Says when to save, writes and reads. The newest checkpoint and the one before it are kept.

    Args:
        config: The subtask's settings.
    """

    def __init__(self, config: NeuroevolutionSubtaskConfig) -> None:
        self.config = config
        self.path = Path(config.output_dir) / NEUROEVOLUTION.checkpoints / LAST
        self.saved_at_s = time.monotonic()

    def is_due(self, generation: int) -> bool:
        """Returns whether it is time to save, now that so many generations are done."""
        every = self.config.save_every_n_generations
        is_late = time.monotonic() - self.saved_at_s > 60 * self.config.save_every_n_minutes
        return is_late or (every is not None and generation % every == 0)

    def write(self, state: dict[str, Any]) -> None:
        """Saves a run's state."""
        write_checkpoint(self.path, state)
        self.saved_at_s = time.monotonic()

    def read(self, start: Path) -> dict[str, Any]:
        """Returns the state to begin with.

        Args:
            start: This run's own checkpoint, which is replaced by the one before if it is damaged, or another run's.
        """
        if start.parent == self.path.parent:
            return read_newest_checkpoint(start, NEEDED, is_own=True)
        return read_checkpoint(start)
