"""The end of a run: the last figure, the curves and pictures, the summary. Matplotlib is imported only then."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import RunStoppedError
from common.ne.champion import write_champion
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.evaluator.base import Cancelled
from common.ne.evolution import Evolution
from common.ne.outputs.gif import record_champion
from common.ne.outputs.records import TIMINGS_FILE_NAME, Records
from common.run import stop
from common.run.metrics import read_metrics
from common.run.plots import save_lines
from common.run.summary import print_summary
from common.run.wandb import config_of

log = logging.getLogger(__name__)

SPEC_KEYS = ("evaluator", "population")
"""The parts of the configuration from which `champion.pt` is brought back to life."""


def finish(evolution: Evolution, records: Records | None, config: NeuroevolutionSubtaskConfig) -> None:
    """Judges the champion on the test episodes, and leaves what a run leaves.

    Args:
        evolution: After its last generation.
        records: Takes the last row; None on other ranks.
        config: The subtask's settings.

    Raises:
        RunStoppedError: a signal asked to leave.
    """
    assert evolution.champion is not None
    rewards = _judged(evolution, config)
    if records is None:
        return
    metrics = {
        "champion/test": float(rewards.mean()),
        "champion/test_std": float(rewards.std()),
        "champion/test_worst": float(np.min(rewards)),
    }
    records.append(evolution.generation, metrics, {})
    folder = Path(config.output_dir)
    whole = config_of(folder)
    spec: dict[str, Any] = {key: whole[key] for key in SPEC_KEYS}
    spec["registration"] = evolution.evaluator.registration()
    write_champion(folder, evolution.champion, spec)
    played = evolution.evaluator, evolution.actors, evolution.champion
    pictures = [*plot_run(folder), *record_champion(*played, records.run, folder, config.seed)]
    records.run.finish()
    print_summary(folder, {"generations": evolution.generation, **metrics}, pictures, records.run.address)


def _judged(evolution: Evolution, config: NeuroevolutionSubtaskConfig) -> np.ndarray:
    """Returns the champion's total rewards in the test episodes.

    Raises:
        RunStoppedError: a signal asked to leave; the evolution is saved, and the next launch judges.
    """
    try:
        return evolution.judge("test", config.num_test_episodes, stop.is_stop_requested)
    except Cancelled as error:
        raise RunStoppedError(
            f"Stopped by {stop.name_of_stop()} in the champion's test, after the last generation, which is saved. The "
            "same command continues."
        ) from error


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
