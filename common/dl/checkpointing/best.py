"""The best network of a run that goes on: it must be there, or be had again."""

import math
from pathlib import Path
from typing import Any

from common.errors import ConfigError, DamagedRunError
from common.run.checkpoint import BEST, LAST, PREVIOUS, is_whole, link, read_checkpoint

CALLBACK = "Checkpointer"
"""Under which key Lightning keeps the state of the callback that notices the best."""


def check_best(folder: Path, last: dict[str, Any]) -> None:
    """Checks that a run which goes on from its last checkpoint will find its best network in the end.

    Args:
        folder: Holds the run's checkpoints.
        last: The checkpoint that it goes on from.

    Raises:
        DamagedRunError: the best checkpoint is missing or damaged, and no other holds that network.
    """
    loss, is_new = _best_of(last)
    if is_new or not math.isfinite(loss) or is_whole(folder / BEST):
        return
    if _holds_best(folder / PREVIOUS, loss):
        link(folder / PREVIOUS, folder / BEST)
        return
    raise DamagedRunError(
        f"The checkpoint {folder / BEST}, the best so far (validation loss {loss:.6g}), is damaged or missing, and no "
        "other holds that network. Nothing was changed. A new run can start from the last state: "
        f"config.ckpt_path={folder / LAST}"
    )


def _holds_best(path: Path, loss: float) -> bool:
    try:
        return _best_of(read_checkpoint(path, ("callbacks",))) == (loss, True)
    except ConfigError:
        return False


def _best_of(checkpoint: dict[str, Any]) -> tuple[float, bool]:
    """Returns the best loss when a checkpoint was taken, and whether it was that of the checkpoint itself."""
    state = checkpoint["callbacks"].get(CALLBACK, {})
    return state.get("best_loss", math.inf), state.get("is_new_best", False)
