"""The end of a run: the last figure, the pictures, the summary."""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import RunStoppedError
from common.ne.champion import write_champion
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.evaluator.base import Cancelled
from common.ne.evolution import Evolution
from common.ne.outputs.gif import record_champion
from common.ne.outputs.plots import plot_run
from common.ne.outputs.records import Records
from common.run import stop
from common.run.summary import print_summary
from common.run.wandb import config_of

log = logging.getLogger(__name__)

SPEC_KEYS = ("evaluator", "population")
"""The parts of the configuration from which `champion.pt` is brought back to life."""


def finish(evolution: Evolution, records: Records | None, config: NeuroevolutionSubtaskConfig) -> float:
    """Judges the champion on the test episodes, and leaves what a run leaves.

    Args:
        evolution: After its last generation.
        records: Takes the last row; None on other ranks.
        config: The subtask's settings.

    Returns:
        The champion's mean total reward over the test episodes.
    """
    assert evolution.champion is not None
    rewards = _judged(evolution, config)
    mean = float(rewards.mean())
    if records is None:
        return mean
    metrics = {
        "champion/test": mean,
        "champion/test_std": float(rewards.std()),
        "champion/test_worst": float(np.min(rewards)),
    }
    records.append(evolution.generation, metrics, {})
    folder = Path(config.output_dir)
    whole = config_of(folder)
    spec: dict[str, Any] = {key: whole[key] for key in SPEC_KEYS}
    spec["registration"] = evolution.evaluator.registration()
    write_champion(folder, evolution.champion, spec)
    pictures = [*plot_run(folder), *record_champion(evolution, records.run, folder, config.seed)]
    records.run.finish()
    print_summary(folder, {"generations": evolution.generation, **metrics}, pictures, records.run.address)
    return mean


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
