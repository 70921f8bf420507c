"""Judges a run's checkpoints before a launch changes anything in its folder, and mends what can be mended.

A run goes on from the newest checkpoint that is whole, and needs its best network in the end. A whole checkpoint takes
the place of a damaged one, which would otherwise become the one before when the next is written.
"""

import math
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from common.run.checkpoint import (
    BEST,
    BEST_SO_FAR,
    LAST,
    NEWEST_FIRST,
    PREVIOUS,
    is_whole,
    last_checkpoint,
    link,
    read_state,
)

HINT = " Give config.ckpt_path="
"""How an error ends that is about a checkpoint which a person has named; here nobody has."""


def mend_checkpoints(folder: Path) -> list[str]:
    """Sees to it that a run which goes on finds its last checkpoint and its best network.

    Args:
        folder: Holds the run's checkpoints; the run is locked for this process.

    Returns:
        What was damaged or missing, and what is used instead.

    Raises:
        ConfigError: what is needed is lost; nothing was changed.
    """
    if last_checkpoint(folder) is None:
        return []
    newest, state, faults = _newest(folder)
    best = _best(folder, newest, state)
    notes = ["\n".join([*faults, f"An older one is used: {newest}"])] if faults else []
    if best is not None and not faults and not is_whole(folder / BEST):
        notes.append(f"{folder / BEST} was damaged or missing; {best.name} holds that network.")
    for source, name in ((best, BEST), (newest, LAST)):
        if source is not None and not _is_same(source, folder / name):
            link(source, folder / name)
    return notes


def _newest(folder: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Returns the newest whole checkpoint, what it holds, and what is wrong with those that are newer."""
    faults: list[str] = []
    for path in (folder / name for name in NEWEST_FIRST):
        try:
            return path, read_state(path), faults
        except ConfigError as error:
            faults.append(str(error).partition(HINT)[0])
    faults = [fault for fault in faults if not fault.startswith("There is no")]
    raise ConfigError(
        "\n".join(faults) + "\nNo checkpoint of this run is good, and nothing was changed. Start afresh with "
        "config.ckpt_path=null."
    )


def _best(folder: Path, newest: Path, state: dict[str, Any]) -> Path | None:
    """Returns the checkpoint that `best.ckpt` has to be; None where there is no best yet, or where it is whole.

    Raises:
        ConfigError: the best network is lost.
    """
    best_so_far = state[BEST_SO_FAR]
    if best_so_far["is_own"]:  # The run may have been cut off before it gave the file its second name.
        return newest
    if not math.isfinite(best_so_far["loss"]) or is_whole(folder / BEST):
        return None
    if newest.name != LAST and _is_same(folder / LAST, folder / BEST):
        return newest  # The last one was saved because it was the best: so it will be again, a step further on.
    if _holds(folder / PREVIOUS, best_so_far["loss"]):
        return folder / PREVIOUS
    raise ConfigError(
        f"The checkpoint {folder / BEST}, the best so far (validation loss {best_so_far['loss']:.6g}), is damaged or "
        "missing, and no other holds that network. Nothing was changed. A new run can start from the last state: "
        f"config.ckpt_path={newest}"
    )


def _holds(path: Path, loss: float) -> bool:
    """Returns whether a checkpoint's own network is the best, with a given loss."""
    try:
        return bool(read_state(path)[BEST_SO_FAR] == {"loss": loss, "is_own": True})
    except ConfigError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    """Returns whether two names lead to one file."""
    return one.exists() and other.exists() and one.samefile(other)
