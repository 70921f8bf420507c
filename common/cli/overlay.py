"""Draws the curves of several groups of runs over each other."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.cli.groups import Group
from common.cli.intervals import Interval, interval_of
from common.run.metrics import read_metrics

MOST_PANELS = 4


def curve_metrics(groups: Sequence[Group]) -> list[str]:
    """Returns the metrics that have curves: those of the validation, or else all that were logged more than once."""
    counts: dict[str, int] = {}
    for group in groups:
        for run in group.runs.values():
            for row in read_metrics(run.source):
                for name in row:
                    counts[name] = counts.get(name, 0) + ("step" in row)
    num_runs = sum(len(group.runs) for group in groups)
    curves = [name for name, count in counts.items() if count > num_runs and name not in ("step", "epoch", "time")]
    return [name for name in curves if name.startswith("val/")] or curves


def draw_overlay(groups: Sequence[Group], names: Sequence[str], metrics: Sequence[str], path: Path) -> None:
    """Draws one panel per metric with a line per group: the mean over its seeds, its 95 % interval as a band.

    Args:
        groups: The groups.
        names: What each is called.
        metrics: Which metrics; the first few are drawn.
        path: The picture to write.
    """
    from matplotlib.figure import Figure  # Only here: listing runs has no use for it.

    shown = metrics[:MOST_PANELS]
    figure = Figure(figsize=(7 * min(2, len(shown)), 4.2 * math.ceil(len(shown) / 2)), layout="constrained")
    grid = figure.subplots(math.ceil(len(shown) / 2), min(2, len(shown)), squeeze=False).flat
    for axes, metric in zip(grid, shown, strict=False):
        for group, name in zip(groups, names, strict=True):
            curve = mean_curve(group, metric)
            steps, means = list(curve), [interval.mean for interval in curve.values()]
            (line,) = axes.plot(steps, means, label=name, marker="o" if len(steps) < 20 else None, markersize=3)
            widths = [interval.half_width or 0.0 for interval in curve.values()]
            low = [mean - width for mean, width in zip(means, widths, strict=True)]
            high = [mean + width for mean, width in zip(means, widths, strict=True)]
            axes.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
        axes.set_ylim(*_range_of([line.get_ydata() for line in axes.get_lines()]))
        axes.set_xlabel("step")
        axes.set_ylabel(metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    for axes in list(grid)[len(shown) :]:
        axes.axis("off")
    figure.savefig(path, dpi=120)


def mean_curve(group: Group, metric: str) -> dict[float, Interval]:
    """Returns a metric's mean over the seeds at each step that all of them have logged."""
    curves = []
    for run in group.runs.values():
        curves.append({row["step"]: row[metric] for row in read_metrics(run.source) if metric in row and "step" in row})
    common = sorted(set.intersection(*map(set, curves))) if curves else []
    return {step: interval_of([curve[step] for curve in curves]) for step in common}


def _range_of(curves: list[Any]) -> tuple[float, float]:
    """Returns the range of the means with some room: a wide interval of few seeds may leave the picture."""
    values = [float(value) for curve in curves for value in curve if math.isfinite(value)]
    if not values:
        return 0.0, 1.0
    room = 0.15 * (max(values) - min(values)) or 0.5
    return min(values) - room, max(values) + room
