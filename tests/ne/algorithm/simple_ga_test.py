"""Who survives and who has children, worked out by hand from the random numbers of seed, generation and purpose."""

from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from common.ne.algorithm.simple_ga import SimpleGA, SimpleGAConfig
from common.ne.random_numbers import generator
from tests.ne.algorithm.conftest import Vectors

FITNESS = np.array([2.0, np.nan, 7.0, 2.0, 9.0, -1.0, 0.0, 7.0])
ORDER = [4, 2, 7, 0, 3, 6, 5, 1]
"""From the fittest on: equals in their order, NaN last."""


class Noted(Vectors):
    """Individuals whose only parameter is their index, and who note what they are mutated with."""

    def __init__(self, size: int) -> None:
        self.arrays = {"parameters": np.arange(float(size))[:, None]}
        self.mutated: list[tuple[int, float]] = []

    def mutate(self, first: int, rng: np.random.Generator) -> None:
        """Draws one number."""
        self.mutated.append((first, rng.random()))


def started(**config: Any) -> tuple[SimpleGA, Noted]:
    algorithm, population = SimpleGA(SimpleGAConfig(**config)), Noted(8)
    algorithm.start(population, 3)
    algorithm.ask(5)
    algorithm.tell(FITNESS)
    return algorithm, population


def indices_of(population: Noted) -> list[int]:
    return [int(index) for index in population.parameters[:, 0]]


@pytest.mark.parametrize(("fraction", "num_parents"), [(0.25, 2), (0.01, 1), (0.5, 4), (0.44, 4), (1.0, 8)])
@pytest.mark.parametrize("num_elites", [0, 1, 3])
def test_truncation_gives_children_to_the_fittest_part(fraction: float, num_parents: int, num_elites: int) -> None:
    _, population = started(num_elites=num_elites, parent_fraction=fraction)
    drawn = generator(3, 5, "selection").integers(num_parents, size=8 - num_elites)
    assert indices_of(population) == [*ORDER[:num_elites], *(ORDER[rank] for rank in drawn)]


def test_a_tournament_is_won_by_the_fittest_of_those_drawn() -> None:
    _, population = started(num_elites=2, selection="tournament", tournament_size=3)
    drawn = generator(3, 5, "selection").integers(8, size=(6, 3))
    assert indices_of(population) == [4, 2, *(ORDER[min(rivals)] for rivals in drawn.tolist())]


@pytest.mark.parametrize("num_elites", [0, 2])
def test_all_but_the_elites_are_mutated_from_the_second_generation_on(num_elites: int) -> None:
    algorithm, population = SimpleGA(SimpleGAConfig(num_elites=num_elites)), Noted(8)
    algorithm.start(population, 3)
    for generation in range(3):
        algorithm.ask(generation)
    assert population.mutated == [(num_elites, generator(3, number, "mutation").random()) for number in (1, 2)]


def test_the_champion_takes_the_first_place_and_no_other() -> None:
    algorithm, population = started(num_elites=1)
    before = indices_of(population)
    algorithm.welcome({"parameters": np.array([[99.0]])})
    assert indices_of(population) == [99, *before[1:]]
    without, others = started(num_elites=0)
    before = indices_of(others)
    without.welcome({"parameters": np.array([[99.0]])})
    assert indices_of(others) == before


@pytest.mark.parametrize("num_elites", [8, 9])
def test_elites_that_leave_no_children_are_refused(num_elites: int) -> None:
    with pytest.raises(ConfigError) as refusal:
        started(num_elites=num_elites)
    assert str(refusal.value) == (
        f"algorithm.config.num_elites={num_elites} leaves no children in a population of population.config.size=8. "
        "Take fewer elites, or a larger population."
    )
    started(num_elites=7)


def test_defaults_are_those_of_the_documentation() -> None:
    assert vars(SimpleGAConfig()) == {
        "num_elites": 1,
        "selection": "truncation",
        "parent_fraction": 0.25,
        "tournament_size": 3,
    }
    assert SimpleGA(SimpleGAConfig()).state_dict() == {}
