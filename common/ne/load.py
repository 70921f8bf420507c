"""Loads a run's champion back: for notebooks, and to let it play.

Axes: n episodes.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra_zen import instantiate
from jaxtyping import Float64, UInt64

from common.check.gate import admit_from_disk
from common.ne.champion import Champion, read_champion
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evaluator.environment import register_again
from common.ne.population.actor import Actors
from common.utils.beartype import shape_checked


@dataclass
class LoadedChampion:
    """A champion, ready to play.

    Attributes:
        champion: The individual.
        actors: Says what individuals are; its own population is a new one.
        evaluator: Plays episodes.
    """

    champion: Champion
    actors: Actors
    evaluator: BaseEvaluator

    @shape_checked
    def play(self, seeds: UInt64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Returns the total reward of an episode for each start seed."""
        return self.evaluator.play(self.actors, self.champion.arrays, np.zeros(len(seeds), np.int64), seeds).rewards

    def record(self, seed: int, render_mode: str = "rgb_array") -> tuple[list[np.ndarray], float]:
        """Plays one episode before a camera; see `BaseEvaluator.record`."""
        return self.evaluator.record(self.actors, self.champion.arrays, seed, render_mode)


def load_run(folder: Path, allowed_targets: tuple[str, ...] = ()) -> LoadedChampion:
    """Loads the champion of a finished run from its `champion.pt` alone, which may lie in any folder.

    Args:
        folder: The run's folder.
        allowed_targets: What the project's runner allows besides the standing list.

    Raises:
        ConfigError: there is no champion, or the file names something that it may not.
    """
    champion, spec = read_champion(folder)
    parts = {"evaluator": BaseEvaluator, "population": partial[Actors]}
    trees = {key: admit_from_disk(spec.get(key), key, hint, allowed_targets) for key, hint in parts.items()}
    register_again(spec["registration"])
    evaluator: Any = instantiate(trees["evaluator"])
    actors = instantiate(trees["population"])(spaces=evaluator.spaces, seed=0)
    return LoadedChampion(champion, actors, evaluator)
