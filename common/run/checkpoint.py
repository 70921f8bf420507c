"""Checkpoints: written whole or not at all, read without running code from them."""

from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.run.atomic import write_atomically

FOLDER_NAME = "lightning"
LAST = "last.ckpt"
BEST = "best.ckpt"


def write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Raises:
        OSError: it could not be written; what stood there before still stands there.
    """
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: torch.save(checkpoint, file))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that holds only tensors and plain values; anything else is refused, not run.

    Raises:
        ConfigError: there is no such file, or it is not a checkpoint that can be read safely.
    """
    import torch

    if not path.is_file():
        raise ConfigError(f"There is no checkpoint {path}. Give config.ckpt_path=<a file>.")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types here: pickle's, zipfile's, RuntimeError, EOFError.
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"The checkpoint {path} cannot be read: {reason} It is damaged, or holds more than "
            "tensors and plain values."
        ) from error
    return checkpoint
