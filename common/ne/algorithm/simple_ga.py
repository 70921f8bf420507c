"""A genetic algorithm that mutates and selects, without crossover.

Source: Such et al. 2017, "Deep neuroevolution: genetic algorithms are a competitive alternative for training deep
neural networks for reinforcement learning", algorithm 1 (truncation selection, elitism, Gaussian mutation); reference
implementation: github.com/uber-research/deep-neuroevolution. There, too, the elite is the one that does best on further
episodes; here that is the champion, which is chosen for all algorithms alike. Differences: there may be more elites,
the fittest besides the champion, and mutation strengths may adapt (see `networks/mutation.py`). Tournaments: Goldberg
and Deb 1991, "A comparative analysis of selection schemes used in genetic algorithms".

Axes: p individuals.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.errors import ConfigError
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.shaping import without_nan
from common.ne.population.base import BasePopulation
from common.ne.population.networks.base import Arrays
from common.ne.random_numbers import generator
from common.utils.beartype import ge, gt, le, shape_checked

Selection = Literal["truncation", "tournament"]


@dataclass
class SimpleGAConfig:
    """Configures the genetic algorithm.

    Attributes:
        num_elites: How many live on unmutated, the champion and then the fittest; fewer than there are individuals.
        selection: Who has children: `truncation`, the fittest part, all alike; `tournament`, for each child the fittest
            of some drawn at random.
        parent_fraction: `truncation`: the part of the population that has children, above 0; at least one has.
        tournament_size: `tournament`: how many are drawn for each child, with replacement.
    """

    num_elites: Annotated[int, ge(0)] = 1
    selection: Selection = "truncation"
    parent_fraction: Annotated[float, gt(0), le(1)] = 0.25
    tournament_size: Annotated[int, ge(1)] = 3


class SimpleGA(BaseAlgorithm):
    """Each generation: the elites as they are, and mutated children of selected parents.

    Args:
        config: See its own fields.
    """

    config: SimpleGAConfig

    @override
    def start(self, population: BasePopulation, seed: int) -> None:
        """Starts with a population.

        Raises:
            ConfigError: there would be no children.
        """
        if self.config.num_elites >= population.size:
            raise ConfigError(
                f"algorithm.config.num_elites={self.config.num_elites} leaves no children in a population of "
                f"population.config.size={population.size}. Take fewer elites, or a larger population."
            )
        super().start(population, seed)

    def ask(self, generation: int) -> None:
        """Mutates the children; the initial individuals are taken as they were drawn."""
        self.generation = generation
        if generation > 0:
            self.population.mutate(self.config.num_elites, generator(self.seed, generation, "mutation"))

    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        """Puts elites, and copies of the selected parents, in the places of the individuals."""
        order = np.argsort(-without_nan(fitness)[0], kind="stable")
        num_children = len(order) - self.config.num_elites
        rng = generator(self.seed, self.generation, "selection")
        if self.config.selection == "tournament":
            ranks = rng.integers(len(order), size=(num_children, self.config.tournament_size)).min(axis=1)
        else:
            ranks = rng.integers(max(1, round(self.config.parent_fraction * len(order))), size=num_children)
        self.population.select(np.concatenate([order[: self.config.num_elites], order[ranks]]))

    def welcome(self, champion: Arrays) -> None:
        """Makes the champion the first elite."""
        if self.config.num_elites:
            self.population.replace(0, champion)

    @override
    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: all there is lies in the population."""
        return {}

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
