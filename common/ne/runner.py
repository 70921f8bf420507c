"""The runner of neuroevolution tasks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from hydra_zen import ZenStore

from common.check.problem import Problem
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.compatibility import check_components
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.engine import NEUROEVOLUTION
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evolve import evolve
from common.ne.outputs.wandb import BaseRun
from common.ne.population.actor import Actors
from common.ne.store import store_configs
from common.runner import BaseTaskRunner


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
        config: Mapping[Any, Any],
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
        """Evolves, and returns the champion's mean over its last validation episodes, which a sweeper maximises."""
        return evolve(algorithm, evaluator, population, logger, config)
