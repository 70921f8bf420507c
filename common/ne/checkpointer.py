"""Saves a run between two generations, so that it continues to the same result, bit for bit."""

import time
from pathlib import Path
from typing import Any

from common.ne.config import NeuroevolutionSubtaskConfig
from common.run.checkpoint import FOLDER_NAME, LAST, write_checkpoint


class Checkpointer:
    """Says when to save, writes and reads. The newest checkpoint and the one before it are kept.

    Args:
        config: The subtask's settings.
    """

    def __init__(self, config: NeuroevolutionSubtaskConfig) -> None:
        self.config = config
        self.path = Path(config.output_dir) / FOLDER_NAME / LAST
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
