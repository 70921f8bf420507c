"""How Lightning's checkpoints reach the disk: through the atomic writer, and back by safe reading."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins import CheckpointIO

from common.run.checkpoint import read_checkpoint, write_checkpoint


class AtomicCheckpointIO(CheckpointIO):
    """Writes each checkpoint whole or not at all, and reads none that could run code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a checkpoint to the CPU; Lightning moves its tensors."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Deletes a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)
