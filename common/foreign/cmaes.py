"""The state of `cmaes.CMA`, for checkpoints, and its directions, for sampling from a run's own random numbers.

The package can only be pickled, and then loses half of a covariance that rounding has left not quite symmetric; and it
draws from a generator of its own. Read for cmaes 0.12 and 0.13.

Axes: d parameters.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from common.utils.beartype import shape_checked

ARRAYS = ("_mean", "_C", "_p_sigma", "_pc")
"""What evolves beside the step size and the generation: mean, covariance, evolution paths."""


def step_size(cma: Any) -> float:
    """Returns the standard deviation along all directions together."""
    return float(cma._sigma)


@shape_checked
def directions(cma: Any) -> tuple[Float64[np.ndarray, "d d"], Float64[np.ndarray, " d"]]:
    """Returns the covariance's eigenvectors, as columns, and its standard deviations along them."""
    basis, scales = cma._eigen_decomposition()
    return basis, scales


def get_state(cma: Any) -> dict[str, Any]:
    """Returns the state as tensors and plain values."""
    arrays = {name: torch.from_numpy(getattr(cma, name).copy()) for name in ARRAYS}
    return {**arrays, "_sigma": step_size(cma), "_g": cma.generation}


def set_state(cma: Any, state: dict[str, Any]) -> None:
    """Restores what `get_state` returned."""
    for name, value in state.items():
        setattr(cma, name, value.numpy().copy() if name in ARRAYS else value)
    cma._B = cma._D = None  # Derived from the covariance when they are needed.
