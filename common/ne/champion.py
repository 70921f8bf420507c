"""The champion: the best individual so far, judged on episodes that selection does not see.

In each generation it plays the same fresh episodes as its challengers, and the best mean stays champion; so a lucky
evaluation makes nobody champion for good. At the end it plays further episodes, which nobody has played.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import ConfigError
from common.ne.population.networks.base import Arrays, joined
from common.run.atomic import write_atomically
from common.run.checkpoint import read_checkpoint

FILE_NAME = "champion.pt"


@dataclass
class Champion:
    """The best individual so far.

    Attributes:
        arrays: The individual.
        mean: Its mean total reward over the last generation's validation episodes.
        generation: When it became champion.
    """

    arrays: Arrays
    mean: float
    generation: int

    def state_dict(self) -> dict[str, Any]:
        """Returns everything, as tensors and plain values."""
        import torch

        arrays = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        return {"arrays": arrays, "mean": self.mean, "generation": self.generation}


def champion_from(state: dict[str, Any]) -> Champion:
    """Returns the champion whose `state_dict` is given."""
    arrays = {name: tensor.numpy() for name, tensor in state["arrays"].items()}
    return Champion(arrays, state["mean"], state["generation"])


def candidates_of(champion: Champion | None, challengers: list[Arrays]) -> Arrays:
    """Returns those who play for the title, the champion first."""
    return joined(([] if champion is None else [champion.arrays]) + challengers)


def crowned(champion: Champion | None, candidates: Arrays, means: np.ndarray, generation: int) -> Champion:
    """Returns the winner.

    Args:
        champion: The champion so far, the first of the candidates; None where there was none.
        candidates: Those who played.
        means: Their mean total rewards; NaN never wins against a number.
        generation: This one.
    """
    best = int(np.argmax(np.where(np.isnan(means), -np.inf, means)))
    is_new = champion is None or best > 0
    arrays = {name: array[best : best + 1].copy() for name, array in candidates.items()}
    return Champion(arrays, float(means[best]), generation if champion is None or is_new else champion.generation)


def write_champion(folder: Path, champion: Champion, spec: dict[str, Any]) -> Path:
    """Writes `champion.pt`.

    Args:
        folder: The run's folder.
        champion: The champion.
        spec: What it takes to build evaluator and population again: their parts of the configuration.
    """
    import torch

    path = folder / FILE_NAME
    write_atomically(path, lambda file: torch.save({"spec": spec, **champion.state_dict()}, file))
    return path


def read_champion(folder: Path) -> tuple[Champion, dict[str, Any]]:
    """Returns a run's champion and its spec; nothing in the file is run.

    Raises:
        ConfigError: there is none, or the file is damaged.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise ConfigError(f"{folder} has no {FILE_NAME}: it is not a neuroevolution run, or the run has not ended yet.")
    state = read_checkpoint(path)
    return champion_from(state), state["spec"]
