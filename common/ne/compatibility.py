"""Starts an algorithm on a population before anything is made, to see whether they and what they start from fit."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydra_zen import instantiate

from common.check.problem import Problem
from common.config import CONTINUE
from common.errors import ConfigError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evolution import Evolution
from common.ne.population.actor import Actors
from common.run.checkpoint import read_checkpoint
from common.run.ranks import Ranks

PARTS = ("algorithm", "evaluator", "population", "config")


def check_components(config: Mapping[Any, Any], wrong_keys: set[str]) -> list[Problem]:
    """Returns a problem if the environment cannot be played, or the algorithm cannot start with the population.

    Nothing is judged where they could not be built. What is built is thrown away: it takes milliseconds.

    Args:
        config: A configuration, resolved, in plain containers.
        wrong_keys: What is known to be wrong with it.
    """
    if any(key.startswith(PARTS) for key in wrong_keys):
        return []
    seed: int = config["config"]["seed"]
    evaluator: BaseEvaluator = instantiate(config["evaluator"])
    try:
        spaces = evaluator.spaces
    except ConfigError as error:
        return [Problem("evaluator", str(error))]
    population: partial[Actors] = instantiate(config["population"])
    algorithm: BaseAlgorithm = instantiate(config["algorithm"])
    actors = population(spaces=spaces, seed=seed)
    try:
        algorithm.start(actors, seed)
    except ConfigError as error:
        return [Problem("algorithm", str(error))]
    evolution = Evolution(algorithm, evaluator, actors, instantiate(config["config"]), Ranks())
    return _check_file(evolution, config["config"]["ckpt_path"])


def check_start(evolution: Evolution, state: Mapping[str, Any], source: str) -> None:
    """Compares the state that an evolution is to begin with to the one that it has.

    Raises:
        ConfigError: it is of another kind, or of other shapes; the text has all that does not fit.
    """
    own = evolution.state_dict()
    misfits = [
        f"{name} {state.get('kind', {}).get(name)} there, {mine} here"
        for name, mine in own["kind"].items()
        if state.get("kind", {}).get(name) != mine
    ]
    if not misfits:
        shapes = {name: _shapes_in(part) for name, part in (("there", state), ("here", own))}
        misfits = [
            f"{name} {shapes['there'].get(name, 'missing')} there, {shapes['here'].get(name, 'missing')} here"
            for name in sorted(shapes["there"].keys() | shapes["here"].keys())
            if shapes["there"].get(name) != shapes["here"].get(name)
        ]
    if misfits:
        raise ConfigError(f"{source} is no start for this run: {'; '.join(misfits)}.")


def _check_file(evolution: Evolution, path: str | None) -> list[Problem]:
    """Returns a problem if the file that a run is to start from does not fit; whether it can be read is for others."""
    if path in (None, CONTINUE):
        return []
    try:
        state = read_checkpoint(Path(str(path)))
    except ConfigError:
        return []
    try:
        check_start(evolution, state, f"config.ckpt_path={path}")
    except ConfigError as error:
        return [Problem("config.ckpt_path", str(error))]
    return []


def _shapes_in(state: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns the shape of each tensor of population and algorithm, by its place."""
    shapes: dict[str, str] = {}
    for name, value in state.items():
        if not prefix and name not in ("population", "algorithm"):
            continue
        if isinstance(value, Mapping):
            shapes |= _shapes_in(value, f"{prefix}{name}/")
        elif hasattr(value, "shape"):
            shapes[f"{prefix}{name}"] = " × ".join(map(str, value.shape)) or "a number"
    return shapes
