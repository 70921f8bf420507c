"""CMA-ES: a normal distribution whose whole covariance adapts.

Source: Hansen 2016, "The CMA evolution strategy: a tutorial", arXiv 1604.00772, with its default parameters.
Implementation: the package `cmaes` (Nomura and Shibata 2024), from which the update is taken. Individuals are drawn
here, from the run's own random numbers, and all at once, where the package multiplies matrices for each. Linear algebra
runs on one thread, because the last bits of its results depend on their number.

Axes: p individuals; d parameters.
"""

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float64
from typing_extensions import override

from common.errors import ConfigError
from common.foreign import cmaes
from common.ne.algorithm.base import BaseAlgorithm
from common.ne.algorithm.gaussian import check_population_size
from common.ne.algorithm.shaping import without_nan
from common.ne.population.base import BasePopulation
from common.ne.random_numbers import generator
from common.utils.beartype import gt, shape_checked

MAX_PARAMETERS = 1000
"""Parameters for which a generation takes about a second; the time grows with their cube."""


@dataclass
class CMAESConfig:
    """Configures `CMAES`.

    Attributes:
        sigma: Standard deviation of every parameter in the first generation.
    """

    sigma: Annotated[float, gt(0)] = 0.5


class CMAES(BaseAlgorithm):
    """See the module. The search starts around the first of the population's initial individuals."""

    needs_parameters = True

    @override
    def start(self, population: BasePopulation, seed: int) -> None:
        super().start(population, seed)
        check_population_size(self, population.size, 4)
        mean = population.parameters[0]
        if len(mean) > MAX_PARAMETERS:
            raise ConfigError(
                f"CMAES adapts the covariance of all parameters: it takes at most {MAX_PARAMETERS}, but the network "
                f"has {len(mean)}. Use a smaller network, or algorithm=snes."
            )
        self.cma = _imported("cmaes").CMA(mean.copy(), self.config.sigma, population_size=population.size)
        self.threads = _imported("threadpoolctl").ThreadpoolController()

    @override
    def ask(self, generation: int) -> None:
        noise = generator(self.seed, generation, "sampling").standard_normal((self.population.size, self.cma.dim))
        with self.threads.limit(limits=1):
            basis, scales = cmaes.directions(self.cma)
            self.population.parameters = self.cma.mean + cmaes.step_size(self.cma) * ((noise * scales) @ basis.T)

    @override
    @shape_checked
    def tell(self, fitness: Float64[np.ndarray, " p"]) -> None:
        losses = -without_nan(fitness)[0]
        if losses.min() == losses.max():
            return  # Nothing is better than anything else; the package would let the mean drift with the noise.
        with self.threads.limit(limits=1):
            self.cma.tell(list(zip(self.population.parameters, losses.tolist(), strict=True)))

    @override
    @shape_checked
    def center(self) -> Float64[np.ndarray, " d"]:
        mean: np.ndarray = self.cma.mean.copy()
        return mean

    @override
    def state_dict(self) -> dict[str, Any]:
        """Returns all that changes; complete between `tell` and the next `ask`."""
        return cmaes.get_state(self.cma)

    @override
    def load_state_dict(self, state: dict[str, Any]) -> None:
        cmaes.set_state(self.cma, state)

    def metrics(self) -> dict[str, float]:
        """Returns the step size."""
        return {"sigma": cmaes.step_size(self.cma)}


def _imported(package: str) -> Any:
    """Returns one of the packages that only CMA-ES needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigError(
            f"algorithm=cma_es needs the package {package}, which is not installed. Install it with: pip install "
            "'ai-research[ne]'."
        ) from error
