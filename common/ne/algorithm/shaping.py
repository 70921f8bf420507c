"""Fitness shaping: what an individual's rank is worth, whatever the scale of the fitness.

NaN counts as worse than any number. Individuals of equal fitness share the mean of what their ranks are worth; so a
generation without any difference moves nothing.

Axes: p individuals.
"""

import numpy as np
from jaxtyping import Float64

from common.utils.beartype import shape_checked


@shape_checked
def without_nan(fitness: Float64[np.ndarray, " p"]) -> tuple[Float64[np.ndarray, " p"], int]:
    """Returns fitness with −∞ for NaN, and how many were NaN."""
    is_nan = np.isnan(fitness)
    return np.where(is_nan, -np.inf, fitness), int(is_nan.sum())


@shape_checked
def centered_ranks(fitness: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    """Returns ranks scaled to [−½, ½], the best ½; they add up to 0.

    Source: Salimans et al. 2017, "Evolution strategies as a scalable alternative to reinforcement learning", section
    2.1; reference implementation: `compute_centered_ranks` in github.com/openai/evolution-strategies-starter, which
    ranks equal fitness in order of appearance.

    Args:
        fitness: Of at least two individuals.
    """
    return _shared(np.linspace(-0.5, 0.5, len(fitness)), fitness)


@shape_checked
def nes_utilities(fitness: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    """Returns the utilities of natural evolution strategies: logarithmic for the better half, equal for the rest.

    Source: Wierstra et al. 2014, "Natural evolution strategies", section 3.1; they add up to 0.

    Args:
        fitness: Of at least two individuals.
    """
    size = len(fitness)
    raw = np.maximum(0.0, np.log(size / 2 + 1) - np.log(np.arange(size, 0, -1)))
    return _shared(raw / raw.sum() - 1 / size, fitness)


def _shared(worths: np.ndarray, fitness: np.ndarray) -> np.ndarray:
    """Returns each individual's share of what the ranks, the worst first, are worth."""
    _, group, counts = np.unique(without_nan(fitness)[0], return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    means = np.array([worths[end - count : end].mean() for end, count in zip(ends, counts, strict=True)])
    shared: np.ndarray = means[group]
    return shared
