"""How far a run is, and how long it has still to go, by its record and its metrics."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.run.record import Record

Rows = Sequence[dict[str, float]]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        part: What it has behind it of its budget, from 0 to 1.
        seconds_left: How long the rest takes if it goes on as fast as in this launch; None where that is unknown.
    """

    part: float
    seconds_left: float | None


def progress_of(record: Record, rows: Rows) -> Progress | None:
    """Returns how far a run is by its budget's first limit; None where it has none that tells.

    Args:
        record: The run's record.
        rows: The rows of its metrics.
    """
    budget = record.budget
    timed = [row for row in rows if "time" in row and "step" in row]
    if not any(_part(budget, row, None) is not None for row in timed[-1:]):
        return None
    steps_per_epoch = _steps_per_epoch(timed)
    parts = [_part(budget, row, steps_per_epoch) or 0.0 for row in timed]
    launched = (seconds_since_1970(record.launches[-1].started) if record.launches else None) or 0.0
    own = [(row["time"], part) for row, part in zip(timed, parts, strict=True) if row["time"] >= launched]
    return Progress(parts[-1], _seconds_left(own))


def seconds_since_1970(moment: str | None) -> float | None:
    """Returns a moment that a record states as a number; None where it states none."""
    try:
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError, OSError):  # Of a year that the machine's clock does not know.
        return None


def _part(budget: dict[str, Any], row: dict[str, float], steps_per_epoch: float | None) -> float | None:
    """Returns the part of the budget that a row has behind it."""
    epochs, steps = budget.get("trainer.max_epochs"), budget.get("trainer.max_steps")
    generations = budget.get("config.num_generations")
    parts = []
    if isinstance(epochs, int) and epochs > 0 and "epoch" in row:
        parts.append((row["step"] / steps_per_epoch if steps_per_epoch else row["epoch"]) / epochs)
    if isinstance(steps, int) and steps > 0:
        parts.append(row["step"] / steps)
    if isinstance(generations, int) and generations > 0:  # They are counted from 0.
        parts.append((row["step"] + 1) / generations)
    return min(max(parts), 1.0) if parts else None


def _steps_per_epoch(rows: Rows) -> float | None:
    """Returns the steps of an epoch: those that the last row of the epochs before has, by their number."""
    current = rows[-1].get("epoch", 0)
    return max((row["step"] for row in rows if row.get("epoch", 0) < current), default=0) / current if current else None


def _seconds_left(points: list[tuple[float, float]]) -> float | None:
    """Returns how long the rest takes.

    Args:
        points: Pairs of time and part done, of this launch.
    """
    if len(points) < 2 or points[-1][1] <= points[0][1]:
        return None
    (start, first), (end, last) = points[0], points[-1]
    left = (1 - last) * (end - start) / (last - first)
    return max(0.0, left - (time.time() - end))
