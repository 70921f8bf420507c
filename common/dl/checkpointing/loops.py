"""The counters of Lightning's training loops, put at a boundary between two steps.

Lightning (2.6) counts what is ready, started, processed and completed, of batches and of epochs, and tells from the
differences where a checkpoint was taken. Two forms are used here, the ones in which its own checkpoints come: after a
step (the last batch is processed but not completed, the epoch started but not processed) and after an epoch (the last
epoch is processed but not completed).
"""

from typing import Any

COUNTS = ("ready", "started", "processed", "completed")


def after_step(fit_loop: dict[str, Any]) -> dict[str, int]:
    """Puts a fit loop's state after the last completed step of an unfinished epoch.

    Args:
        fit_loop: `checkpoint["loops"]["fit_loop"]`, changed in place.

    Returns:
        The epoch, and the batch in it, with which the run goes on, both from 0.
    """
    batches, epochs = fit_loop["epoch_loop.batch_progress"], fit_loop["epoch_progress"]
    num_batches, epoch = batches["current"]["completed"], epochs["current"]["started"] - 1
    for scope in ("current", "total"):
        _count(batches[scope], batches[scope]["completed"], completed=-1)
        started = epochs[scope]["started"]
        epochs[scope].update({"ready": started, "started": started, "processed": started - 1, "completed": started - 1})
    batches["is_last_batch"] = False
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1  # Lightning adds it when it loads.
    return {"epoch": epoch, "batch": num_batches}


def after_epoch(fit_loop: dict[str, Any]) -> dict[str, int]:
    """Puts a fit loop's state after the last processed epoch; see `after_step`."""
    epochs = fit_loop["epoch_progress"]
    for scope in ("current", "total"):
        _count(epochs[scope], epochs[scope]["processed"], completed=-1)
    return {"epoch": epochs["current"]["processed"], "batch": 0}


def _count(counts: dict[str, int], number: int, completed: int) -> None:
    counts.update(dict.fromkeys(COUNTS, number) | {"completed": number + completed})
