"""The runner of neuroevolution tasks."""

from functools import partial
from typing import Any

from hydra_zen import ZenStore, instantiate
from omegaconf import DictConfig

from common.check.problem import Problem
from common.errors import ConfigError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.engine import NEUROEVOLUTION
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evolve import evolve
from common.ne.outputs.wandb import BaseRun
from common.ne.population.actor import Actors
from common.ne.store import store_configs
from common.runner import BaseTaskRunner

PARTS = ("algorithm", "evaluator", "population", "config")


def check_components(config: DictConfig, wrong_keys: set[str]) -> list[Problem]:
    """Returns a problem if the environment cannot be played, or the algorithm cannot start with the population.

    Nothing is judged where they could not be built. What is built is thrown away: it takes milliseconds.

    Args:
        config: A composed and resolved configuration.
        wrong_keys: What is known to be wrong with it.
    """
    if any(key.startswith(PARTS) for key in wrong_keys):
        return []
    seed: int = config.config.seed
    evaluator: BaseEvaluator = instantiate(config.evaluator)
    try:
        spaces = evaluator.spaces
    except ConfigError as error:
        return [Problem("evaluator", str(error))]
    population: partial[Actors] = instantiate(config.population)
    algorithm: BaseAlgorithm = instantiate(config.algorithm)
    try:
        algorithm.start(population(spaces=spaces, seed=seed), seed)
    except ConfigError as error:
        return [Problem("algorithm", str(error))]
    return []


class NeuroevolutionTaskRunner(BaseTaskRunner):
    """Runs a neuroevolution task: a subtask evolves a population."""

    engine = NEUROEVOLUTION

    @classmethod
    def store_configs(cls, store: ZenStore) -> None:
        """Registers algorithms, evaluators, populations and networks."""
        super().store_configs(store=store)
        store_configs(store)

    @classmethod
    def check_subtask(
        cls,
        config: DictConfig,
        wrong_keys: set[str],
        *,
        is_plain: bool,  # noqa: ARG003  # It takes milliseconds.
    ) -> list[Problem]:
        """Returns a problem if algorithm, population and environment do not fit each other."""
        return check_components(config, wrong_keys)

    @staticmethod
    def run_subtask(
        algorithm: BaseAlgorithm,
        evaluator: BaseEvaluator,
        population: partial[Actors],
        logger: partial[BaseRun],
        config: NeuroevolutionSubtaskConfig,
    ) -> Any:
        """Evolves, and returns the champion's mean over the test episodes, so that a sweeper can maximise it."""
        return evolve(algorithm, evaluator, population, logger, config)
