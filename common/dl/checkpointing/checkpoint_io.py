"""How Lightning's checkpoints reach the disk: through the atomic writer, and back by safe reading."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins import CheckpointIO

from common.dl.checkpointing.best import check_best
from common.run.checkpoint import read_newest_checkpoint, write_checkpoint

NEEDED = ("state_dict", "loops", "callbacks", "optimizer_states", "continuation")
"""The keys without which a run cannot go on from a checkpoint."""


class AtomicCheckpointIO(CheckpointIO):
    """Writes each checkpoint whole or not at all, and reads none that could run code.

    Args:
        folder: Where this run's own checkpoints lie; None where it reads only those of others.
    """

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.folder = folder

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint to the CPU; Lightning moves its tensors."""
        is_own = Path(path).parent == self.folder
        checkpoint = read_newest_checkpoint(Path(path), NEEDED if is_own else (), is_own=is_own)
        if is_own:
            check_best(Path(path).parent, checkpoint)
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)
