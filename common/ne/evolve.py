"""The one evolution loop that every neuroevolution project shares.

A run is saved between two generations, so that it continues to the same result, bit for bit.
"""

import copy
import logging
import time
from functools import partial
from pathlib import Path
from typing import Any

from common.config import CONTINUE
from common.errors import RunError, RunStoppedError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.compatibility import check_start
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.engine import NEUROEVOLUTION
from common.ne.evaluator.base import BaseEvaluator, Cancelled
from common.ne.evolution import Evolution
from common.ne.outputs.finish import finish
from common.ne.outputs.records import ProgressBar, Records, records_of
from common.ne.outputs.wandb import BaseRun, start_run
from common.ne.population.actor import Actors
from common.run import stop
from common.run.checkpoint import LAST, last_checkpoint, read_checkpoint, write_checkpoint
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
        The champion's mean total reward over its last validation episodes; the test is for nobody to choose by.

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
            finish(evolution, records, config)
    assert evolution.champion is not None
    return evolution.champion.mean


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
                before = copy.deepcopy(self.evolution.state_dict()) if self.evolution.evaluator.can_be_cancelled else {}
                try:
                    metrics = self.evolution.advance(self._is_over)
                except Cancelled:
                    self.evolution.load_state_dict(before)
                    self._leave_within_generation()
                    break
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

    def _is_over(self) -> bool:
        """Returns whether to leave within a generation: a signal came, or there is no time left."""
        is_late = (
            self.config.num_minutes is not None and time.monotonic() - self.started_s >= 60 * self.config.num_minutes
        )
        return is_late or stop.is_stop_requested()

    def _leave_within_generation(self) -> None:
        """Saves what was before the generation, which is played again if a signal asked to leave it.

        Raises:
            RunStoppedError: a signal did.
            RunError: the time was over before there was a champion.
        """
        generation, self.elapsed_s = self.evolution.generation, time.monotonic() - self.started_s
        if any(self.ranks.gather(stop.is_stop_requested())):
            self._save()
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} within generation {generation}, saved as it was before. "
                f"The same command{self._advice()} continues, and plays it again."
            )
        if self.evolution.champion is None:
            raise RunError(
                f"config.num_minutes={self.config.num_minutes} were over before the first generation was. Give more, "
                "or make a generation shorter: population.config.size, evaluator.config.num_episodes, "
                "evaluator.config.max_steps."
            )
        log.info("config.num_minutes were over within generation %d, which does not count.", generation)

    def _advice(self) -> str:
        return "" if self.config.ckpt_path == CONTINUE else " without config.ckpt_path"

    def _save_or_stop(self) -> None:
        """Saves if it is time, and leaves if any rank was asked to."""
        flags = self.ranks.gather((self.checkpointer.is_due(self.evolution.generation), stop.is_stop_requested()))
        is_stopping = any(stopping for _, stopping in flags)
        if flags[0][0] or is_stopping:
            self._save()
        if is_stopping:
            raise RunStoppedError(
                f"Stopped by {stop.name_of_stop()} after generation {self.evolution.generation - 1}, saved. "
                f"The same command{self._advice()} continues."
            )

    def _save(self) -> None:
        if self.records is not None:
            state = self.evolution.state_dict()
            self.checkpointer.write({**state, "records": self.records.state_dict(), "elapsed_s": self.elapsed_s})
            self.records.run.ask_for_upload()

    def _restore(self) -> None:
        """Goes on where this run's last launch was, or begins where another run was, or afresh."""
        own = last_checkpoint(self.checkpointer.path.parent)
        start = own or (None if self.config.ckpt_path in (None, CONTINUE) else Path(str(self.config.ckpt_path)))
        state: dict[str, Any] | None = None
        if self.ranks.is_first and start is not None:
            state = read_checkpoint(start)
        state = self.ranks.gather(state)[0]
        if state is not None:
            check_start(self.evolution, state, str(start or self.config.ckpt_path))
            self.evolution.load_state_dict(state)
        if self.records is not None and own is not None and state is not None:
            self.elapsed_s = state["elapsed_s"]
            self.records.load_state_dict(state["records"])
        elif self.records is not None:
            self.records.clear()


class Checkpointer:
    """Says when to save, writes and reads. The newest checkpoint and the one before it are kept.

    Args:
        config: The subtask's settings.
    """

    def __init__(self, config: NeuroevolutionSubtaskConfig) -> None:
        self.config = config
        self.path = Path(config.output_dir) / NEUROEVOLUTION.checkpoints / LAST
        self.saved_at_s = time.monotonic()

    def is_due(self, generation: int) -> bool:
        """Returns whether it is time to save, now that so many generations are done."""
        every = self.config.save_every_n_generations
        is_late = time.monotonic() - self.saved_at_s > 60 * self.config.save_every_n_minutes
        return is_late or (every is not None and generation % every == 0)

    def write(self, state: dict[str, Any]) -> None:
        """Saves a run's state."""
        write_checkpoint(self.path, state)
        self.saved_at_s = time.monotonic()
