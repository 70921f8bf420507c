"""How far a run is, and how long it has still to go, by its record and its metrics."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from common.run.record import Record
from common.run.table import FIRST_COLUMN

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
    timed = [row for row in rows if "time" in row and "step" in row]
    if not any(_part(record, row, {}) is not None for row in timed[-1:]):
        return None
    steps_per = {budget.column: _steps_per(budget.column, timed) for budget in record.engine.budgets if budget.column}
    parts = [_part(record, row, steps_per) or 0.0 for row in timed]
    launched = (seconds_since_1970(record.launches[-1].started) if record.launches else None) or 0.0
    own = [(row["time"], part) for row, part in zip(timed, parts, strict=True) if row["time"] >= launched]
    return Progress(parts[-1], _seconds_left(own))


def seconds_since_1970(moment: str | None) -> float | None:
    """Returns a moment that a record states as a number; None where it states none."""
    try:
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError, OSError):  # Of a year that the machine's clock does not know.
        return None


def _part(record: Record, row: dict[str, float], steps_per: dict[str, float | None]) -> float | None:
    """Returns the part of the budget that a row has behind it.

    Args:
        record: Says what counts towards which limit.
        row: Has a step.
        steps_per: The steps that one more in a column takes, where that is known: a part of it counts, too.
    """
    parts = []
    for budget in record.engine.budgets:
        limit, column = record.budget.get(budget.key), budget.column
        if isinstance(limit, int) and limit > 0 and column in row:
            steps = steps_per.get(column)
            parts.append(((row["step"] / steps if steps else row[column]) + budget.offset) / limit)
    return min(max(parts), 1.0) if parts else None


def _steps_per(column: str, rows: Rows) -> float | None:
    """Returns the steps that one more in a column takes, for example an epoch: by the last row of those before."""
    current = rows[-1].get(column, 0)
    if column == FIRST_COLUMN or not current:
        return None
    return max((row["step"] for row in rows if row.get(column, 0) < current), default=0) / current


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
