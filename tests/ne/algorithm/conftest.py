"""A population of plain vectors, and the evolution strategies that are tested on it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.cma_es import CMAES, CMAESConfig
from common.ne.algorithm.openai_es import OpenAIES, OpenAIESConfig
from common.ne.algorithm.pgpe import PGPE, PGPEConfig
from common.ne.algorithm.snes import SNES, SNESConfig
from common.ne.population.base import BasePopulation

STRATEGIES: dict[str, tuple[Callable[..., BaseAlgorithm], Callable[..., Any]]] = {
    "openai_es": (OpenAIES, OpenAIESConfig),
    "snes": (SNES, SNESConfig),
    "pgpe": (PGPE, PGPEConfig),
    "cma_es": (CMAES, CMAESConfig),
}
"""Class and configuration of each evolution strategy."""


class Vectors(BasePopulation):
    """Individuals that are vectors; all begin at one point."""

    has_parameters = True

    def __init__(self, size: int, start: np.ndarray) -> None:
        self.arrays = {"parameters": np.tile(start, (size, 1))}

    def mutate(self, first: int, rng: np.random.Generator) -> None:
        """Evolution strategies do not mutate."""
        raise AssertionError


@pytest.fixture
def start() -> Callable[..., BaseAlgorithm]:
    """Returns a function that starts a strategy on a population of vectors."""

    def start(name: str, size: int = 8, point: np.ndarray | None = None, seed: int = 0, **config: Any) -> BaseAlgorithm:
        make, make_config = STRATEGIES[name]
        algorithm = make(make_config(**config))
        algorithm.start(Vectors(size, np.full(3, 2.0) if point is None else point), seed)
        return algorithm

    return start
