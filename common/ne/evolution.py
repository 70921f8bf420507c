"""One generation after the other: ask, evaluate, tell, and let champion and challengers play.

Axes: p individuals; e episodes of each; c candidates for the champion.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.shaping import without_nan
from common.ne.champion import Champion, candidates_of, champion_from, crowned
from common.ne.config import NeuroevolutionSubtaskConfig
from common.ne.evaluator.base import BaseEvaluator, Cancelled, Episodes, joined_episodes, never
from common.ne.outputs.records import fitness_metrics
from common.ne.population.actor import Actors
from common.ne.population.networks.base import Arrays, taken
from common.ne.random_numbers import Purpose, episode_seeds
from common.run.ranks import Ranks

log = logging.getLogger(__name__)


class Evolution:
    """The state of a run between two generations, and the step to the next.

    Every rank holds and computes all of it but the episodes, which the ranks share.

    Args:
        algorithm: Asked and told.
        evaluator: Plays episodes.
        actors: The population, with initial individuals.
        config: The subtask's settings.
        ranks: The processes that share the run.
    """

    def __init__(
        self,
        algorithm: BaseAlgorithm,
        evaluator: BaseEvaluator,
        actors: Actors,
        config: NeuroevolutionSubtaskConfig,
        ranks: Ranks,
    ) -> None:
        self.algorithm, self.evaluator, self.actors = algorithm, evaluator, actors
        self.config, self.ranks = config, ranks
        self.generation = 0
        self.num_steps = 0
        self.champion: Champion | None = None
        self.timings: dict[str, float] = {}
        self.is_cancelled: Callable[[], bool] = never
        algorithm.start(actors, config.seed)

    def advance(self, is_cancelled: Callable[[], bool] = never) -> dict[str, float]:
        """Evolves one generation; returns its row of metrics. `timings` then holds what took how long.

        Args:
            is_cancelled: Whether to leave within the generation.

        Raises:
            Cancelled: it said so, on any rank; this object is then of no use until it is given a state.
        """
        self.timings, self.is_cancelled = {}, is_cancelled
        with self._timed("ask"):
            self.algorithm.ask(self.generation)
        with self._timed("evaluate"):
            episodes = self._evaluate()
            fitness = episodes.rewards.reshape(self.actors.size, -1).mean(axis=1)
        with self._timed("tell"):
            metrics = {**fitness_metrics(fitness), **self._prefixed("population", self.actors.metrics())}
            challengers = self._challengers(fitness)
            if self.actors.has_statistics:
                self.actors.take_up(episodes.lengths - episodes.num_unusable, episodes.sums, episodes.squares)
            self.algorithm.tell(fitness)
            metrics |= self._prefixed("algorithm", self.algorithm.metrics())
        with self._timed("validate"):
            self._validate(challengers)
            assert self.champion is not None
            self.algorithm.welcome(self.champion.arrays)
        steps = int(episodes.lengths.sum())
        self.num_steps += steps
        self.timings["steps_per_second"] = steps / self.timings["seconds/evaluate"]
        metrics |= {"champion/validation": self.champion.mean, "champion/generation": self.champion.generation}
        self.generation += 1
        return {**metrics, "steps/generation": steps, "steps/total": self.num_steps}

    def judge(self, purpose: Purpose, num_episodes: int, is_cancelled: Callable[[], bool] = never) -> np.ndarray:
        """Returns the champion's total rewards in episodes that nobody has played.

        Args:
            purpose: What the episodes are for.
            num_episodes: How many.
            is_cancelled: Whether to leave.

        Raises:
            Cancelled: it said so, on any rank.
        """
        assert self.champion is not None
        self.is_cancelled = is_cancelled
        seeds = episode_seeds(self.config.seed, 0, purpose, 1, num_episodes, is_shared=True)
        return self._play(self.champion.arrays, seeds).rewards

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the next generation depends on, as tensors and plain values."""
        return {
            "kind": self.kind(),
            "generation": self.generation,
            "num_steps": self.num_steps,
            "algorithm": self.algorithm.state_dict(),
            "population": self.actors.state_dict(),
            "champion": None if self.champion is None else self.champion.state_dict(),
        }

    def kind(self) -> dict[str, str]:
        """Returns what numbers in a state mean, beside their shapes: a state of another kind is no start for this."""
        return {
            "algorithm": type(self.algorithm).__name__,
            "networks": f"{type(self.actors.networks).__name__}{self.actors.networks.layout}",
            "observations": self.actors.config.observations,
            "actions": self.actors.spaces.kind,
            "individuals": str(self.actors.size),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.generation, self.num_steps = state["generation"], state["num_steps"]
        self.actors.load_state_dict(state["population"])
        self.algorithm.load_state_dict(state["algorithm"])
        self.champion = None if state["champion"] is None else champion_from(state["champion"])

    def _evaluate(self) -> Episodes:
        """Plays the generation's episodes, and lets individuals keep what they remember of their first."""
        config = self.evaluator.config
        seeds = episode_seeds(
            self.config.seed,
            self.generation,
            "training",
            self.actors.size,
            config.num_episodes,
            is_shared=config.start_states == "shared",
        )
        episodes = self._play(self.actors.arrays, seeds)
        if self.actors.networks.carries_memory:
            self.actors.networks.carry(self.actors.arrays, episodes.memory[:: config.num_episodes])
        num_unusable = int(episodes.num_unusable.sum())
        if num_unusable:
            log.warning(
                "Generation %d: %d of %d observations held inf or NaN. Statistics leave them out, and networks are "
                "shown 0 in the place of such a number.",
                self.generation,
                num_unusable,
                int(episodes.lengths.sum()),
            )
        return episodes

    def _challengers(self, fitness: np.ndarray) -> Arrays:
        """Returns copies of the fittest."""
        valid, num_nan = without_nan(fitness)
        if num_nan:
            log.warning("Generation %d: the fitness of %d individuals is no finite number.", self.generation, num_nan)
        order = np.argsort(-valid, kind="stable")
        return taken(self.actors.arrays, order[: self.config.num_challengers])

    def _validate(self, challengers: Arrays) -> None:
        """Lets the champion, the challengers and the distribution's mean play for the title."""
        center = self.algorithm.center()
        means = [] if center is None else [self.actors.individual(center)]
        candidates = candidates_of(self.champion, [challengers, *means])
        num, num_episodes = len(candidates["shift"]), self.config.num_validation_episodes
        seeds = episode_seeds(self.config.seed, self.generation, "validation", num, num_episodes, is_shared=True)
        rewards = self._play(candidates, seeds).rewards.reshape(num, num_episodes)
        self.champion = crowned(self.champion, candidates, rewards.mean(axis=1), self.generation)

    def _play(self, arrays: Arrays, seeds: np.ndarray) -> Episodes:
        """Plays the episodes of individuals, p × e, each rank its share of them; returns all."""
        individuals = np.repeat(np.arange(len(seeds)), seeds.shape[1])
        share = self.ranks.share(seeds.size)
        own: Episodes | None = None
        with suppress(Cancelled):
            seeds_of_share = seeds.reshape(-1)[share]
            own = self.evaluator.play(self.actors, arrays, individuals[share], seeds_of_share, self.is_cancelled)
        parts = [part for part in self.ranks.gather(own) if part is not None]
        if len(parts) < self.ranks.num_ranks:
            raise Cancelled
        episodes = joined_episodes(parts)
        episodes.rewards[~np.isfinite(episodes.rewards)] = np.nan  # An infinite reward would be champion for good.
        return episodes

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self.timings[f"seconds/{phase}"] = time.perf_counter() - started_s

    @staticmethod
    def _prefixed(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
        return {f"{prefix}/{name}": float(value) for name, value in metrics.items()}
