"""Curves of a run, drawn at its end. Matplotlib is imported only then."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.ne.outputs.records import TIMINGS_FILE_NAME
from common.run.metrics import read_metrics
from common.run.plots import save_lines

PLOTS: Mapping[str, tuple[str, Sequence[str]]] = {
    "fitness": (
        "total reward",
        ("fitness/best", "fitness/mean", "fitness/median", "fitness/worst", "champion/validation"),
    ),
    "fitness_std": ("standard deviation of fitness", ("fitness/std",)),
    "mutation_strength": ("mutation strength", ("population/mutation_strength", "algorithm/sigma")),
    "diversity": ("spread of parameters", ("population/diversity",)),
    "topology": ("per network", ("population/nodes", "population/edges")),
    "seconds": ("seconds", ("seconds/ask", "seconds/evaluate", "seconds/tell", "seconds/validate")),
    "steps_per_second": ("useful steps per second", ("steps_per_second",)),
}
"""For each picture: what its vertical axis shows, and its lines; a line that was never logged is left out."""


def plot_run(folder: Path) -> list[Path]:
    """Draws the curves of a run.

    Args:
        folder: The run's folder; `metrics.csv` and `timings.csv` are read.

    Returns:
        The files written.
    """
    rows = read_metrics(folder) + read_metrics(folder, TIMINGS_FILE_NAME)
    paths = []
    for name, (label, columns) in PLOTS.items():
        lines = {column: [(row["step"], row[column]) for row in rows if column in row] for column in columns}
        lines = {column: points for column, points in lines.items() if points}
        if lines:
            paths.append(folder / f"{name}.png")
            save_lines(paths[-1], lines, "generation", label)
    return paths
