"""The one evolution loop that every neuroevolution project shares."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

from common.config import CONTINUE
from common.errors import RunStoppedError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.checkpointer import Checkpointer
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.evaluator.base import BaseEvaluator
from common.ne.evolution import Evolution
from common.ne.outputs.finish import finish
from common.ne.outputs.progress import ProgressBar
from common.ne.outputs.records import Records, records_of
from common.ne.outputs.wandb import BaseRun, start_run
from common.ne.population.actor import Actors
from common.run import stop
from common.run.checkpoint import last_checkpoint
from common.run.ranks import Ranks, connected_ranks

log = logging.getLogger(__name__)


def evolve(
    algorithm: BaseAlgorithm,
    evaluator: BaseEvaluator,
    population: partial[Actors],
    logger: partial[BaseRun],
    config: NeuroevolutionSubtaskConfig,
) -> float:
    """Evolves until a budget is spent, then judges the champion on episodes that nobody has played.

    Args:
        algorithm: Turns fitness into the next generation.
        evaluator: Plays episodes.
        population: Builds the population.
        logger: Builds the logger beside `metrics.csv`.
        config: The subtask's settings.

    Returns:
        The champion's mean total reward over the test episodes: what a sweeper should **maximise**.

    Raises:
        ConfigError: algorithm and population do not fit together.
        RunStoppedError: a signal asked the run to stop; it is saved.
    """
    actors = population(spaces=evaluator.spaces, seed=config.seed)
    folder = Path(config.output_dir)
    with connected_ranks() as ranks:
        run = start_run(logger, folder, is_first=ranks.is_first)
        evolution = Evolution(algorithm, evaluator, actors, config, ranks)
        with records_of(folder, run, is_first=ranks.is_first) as records:
            Loop(evolution, records, config, ranks).run()
            return finish(evolution, records, config)


class Loop:
    """Evolves generation by generation within the budgets, and saves between two.

    Args:
        evolution: What evolves.
        records: Writes down what happens; None on other ranks.
        config: The subtask's settings.
        ranks: The processes that share the run.
    """

    def __init__(
        self, evolution: Evolution, records: Records | None, config: NeuroevolutionSubtaskConfig, ranks: Ranks
    ) -> None:
        self.evolution, self.records, self.config, self.ranks = evolution, records, config, ranks
        self.checkpointer = Checkpointer(config)
        self.elapsed_s = 0.0
        self._restore()
        self.started_s = time.monotonic() - self.elapsed_s

    def run(self) -> None:
        """Evolves until a budget is spent or a signal asks to stop."""
        bar = ProgressBar(self.config, self.evolution.generation, is_first=self.ranks.is_first)
        try:
            while not self._is_spent():
                metrics = self.evolution.advance()
                self.elapsed_s = time.monotonic() - self.started_s
                if self.records is not None:
                    self.records.append(self.evolution.generation - 1, metrics, self.evolution.timings)
                bar.advance(metrics["fitness/best"], metrics["champion/validation"], self.elapsed_s)
                self._save_or_stop()
        finally:
            bar.close()
        self._save()

    def _is_spent(self) -> bool:
        """Returns whether a budget is spent; the first rank's clock decides."""
        config, champion = self.config, self.evolution.champion
        if config.num_generations is not None and self.evolution.generation >= config.num_generations:
            return True
        if config.target_fitness is not None and champion is not None and champion.mean >= config.target_fitness:
            return True
        is_late = config.num_minutes is not None and self.elapsed_s >= 60 * config.num_minutes
        return bool(self.ranks.gather(is_late)[0])

    def _save_or_stop(self) -> None:
        """Saves if it is time, and leaves if any rank was asked to."""
        flags = self.ranks.gather((self.checkpointer.is_due(self.evolution.generation), stop.is_stop_requested()))
        is_stopping = any(stopping for _, stopping in flags)
        if flags[0][0] or is_stopping:
            self._save()
        if is_stopping:
            advice = "" if self.config.ckpt_path is not None else " without config.ckpt_path"
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} after generation {self.evolution.generation - 1}, saved. "
                f"The same command{advice} continues."
            )

    def _save(self) -> None:
        if self.records is not None:
            state = self.evolution.state_dict()
            self.checkpointer.write({**state, "records": self.records.state_dict(), "elapsed_s": self.elapsed_s})
            self.records.run.ask_for_upload()

    def _restore(self) -> None:
        """Goes on where this run's last launch was, or begins where another run was, or afresh."""
        own = last_checkpoint(Path(self.config.output_dir))
        start = own or (None if self.config.ckpt_path in (None, CONTINUE) else Path(str(self.config.ckpt_path)))
        state: dict[str, Any] | None = None
        if self.ranks.is_first and start is not None:
            state = self.checkpointer.read(start)
        state = self.ranks.gather(state)[0]
        if state is not None:
            self.evolution.load_state_dict(state)
        if self.records is not None and own is not None and state is not None:
            self.elapsed_s = state["elapsed_s"]
            self.records.load_state_dict(state["records"])
        elif self.records is not None:
            self.records.clear()
