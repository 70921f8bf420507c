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
    if not has_better(last) or is_whole(folder / BEST):
        return
    loss, _ = _best_of(last)
    if _holds_best(folder / PREVIOUS, loss):
        link(folder / PREVIOUS, folder / BEST)
        return
    raise DamagedRunError(
        f"The checkpoint {folder / BEST}, the best so far (validation loss {loss:.6g}), is damaged or missing, and no "
        "other holds that network. Checkpoints and metrics are as they were. A new run can start from the last state: "
        f"config.ckpt_path={folder / LAST}"
    )


def has_better(last: dict[str, Any]) -> bool:
    """Returns whether an earlier network than the one of the last checkpoint is the best."""
    loss, is_new = _best_of(last)
    return math.isfinite(loss) and not is_new


def is_best(last: dict[str, Any]) -> bool:
    """Returns whether the network of the last checkpoint is the best."""
    return _best_of(last)[1]


def _holds_best(path: Path, loss: float) -> bool:
    try:
        return _best_of(read_checkpoint(path, ("callbacks",))) == (loss, True)
    except ConfigError:
        return False


def _best_of(checkpoint: dict[str, Any]) -> tuple[float, bool]:
    """Returns the best loss when a checkpoint was taken, and whether it was that of the checkpoint itself."""
    state = checkpoint["callbacks"].get(CALLBACK, {})
    return state.get("best_loss", math.inf), state.get("is_new_best", False)
