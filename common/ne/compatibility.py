"""Starts an algorithm on a population before anything is made, to see whether they fit each other."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra_zen import instantiate

from common.check.problem import Problem
from common.errors import ConfigError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.evaluator.base import BaseEvaluator
from common.ne.population.actor import Actors

PARTS = ("algorithm", "evaluator", "population", "config")


def check_fit(config: Mapping[Any, Any], wrong_keys: set[str]) -> list[Problem]:
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
    try:
        algorithm.start(population(spaces=spaces, seed=seed), seed)
    except ConfigError as error:
        return [Problem("algorithm", str(error))]
    return []
