"""What a sweep leaves beside its points: a table, `sweep.csv`, and a plot of the result over each swept key."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.launch.point import Point
from common.launch.sweep.outcome import Outcome
from common.run.plots import plot_sweep

TABLE_NAME = "sweep.csv"
PLOT_NAME = "sweep.png"


def report(folder: Path, points: Sequence[Point], outcomes: Mapping[int, Outcome]) -> None:
    """Prints and writes down how each point ended.

    Args:
        folder: The sweep's folder.
        points: The sweep's points.
        outcomes: How each ended, by index.
    """
    points = sorted(points, key=lambda point: point.index)
    keys = list(dict.fromkeys(key for point in points for key in _values_of(point)))
    rows = [["point", *keys, "status", "result", "folder"], *(_row(point, keys, outcomes) for point in points)]
    with (folder / TABLE_NAME).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    print(f"\n{_aligned(rows)}\n\n  folder  {folder}\n  table   {TABLE_NAME}")
    results = {index: _number(outcome.result) for index, outcome in outcomes.items()}
    drawn = [point for point in points if math.isfinite(results[point.index])]
    if len(drawn) > 1:
        values_of_keys = {key: [_values_of(point).get(key, "") for point in drawn] for key in keys}
        plot_sweep(folder / PLOT_NAME, values_of_keys, [results[point.index] for point in drawn])
        print(f"  plot    {PLOT_NAME}")


def describe_failures(points: Sequence[Point], outcomes: Mapping[int, Outcome], task: str) -> str | None:
    """Returns which points failed, with their errors and logs, or None where none did.

    Args:
        points: The sweep's points.
        outcomes: How each ended, by index.
        task: The task's name, after which logs are named.
    """
    failed = [point for point in points if outcomes[point.index].status in ("failed", "killed")]
    if not failed:
        return None
    lines = [f"{len(failed)} of {len(points)} points failed; the same command tries them again."]
    for point in failed:
        outcome = outcomes[point.index]
        lines.append(f"  {point.index}: {' '.join(point.own_overrides)}: {outcome.error}")
        lines.append(f"    {outcome.folder}/{task}.log")
    return "\n".join(lines)


def _row(point: Point, keys: Sequence[str], outcomes: Mapping[int, Outcome]) -> list[str]:
    """Returns what the table says of a point."""
    outcome, values = outcomes[point.index], _values_of(point)
    result = "" if outcome.result is None else str(outcome.result)
    place = outcome.folder.name if outcome.folder else ""
    return [str(point.index), *(values.get(key, "") for key in keys), outcome.status, result, place]


def _values_of(point: Point) -> dict[str, str]:
    """Returns a point's own values by key."""
    pairs = (override.lstrip("+").partition("=") for override in point.own_overrides)
    return {key: value for key, _, value in pairs}


def _number(result: Any) -> float:
    is_number = isinstance(result, int | float) and not isinstance(result, bool)
    return float(result) if is_number else math.nan


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)
