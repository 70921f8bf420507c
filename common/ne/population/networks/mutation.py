"""How real-valued parameters mutate.

Self-adaptation: Bäck and Schwefel 1993, "An overview of evolutionary algorithms for parameter optimization", section
2.1 (log-normal steps of one factor per individual and one per parameter). We add a floor below which none falls.

Axes: p individuals; d parameters of an individual.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64

from common.utils.beartype import gt, shape_checked

MutationKind = Literal["self_adaptive", "fixed"]


@dataclass
class MutationConfig:
    """Configures mutation.

    Attributes:
        kind: `self_adaptive`: each parameter of each individual has a strength of its own, which mutates too and is
            inherited; `fixed`: one strength for all.
        strength: Standard deviation of what is added to a parameter: at the start, or always.
        min_strength: The floor of self-adaptive strengths.
    """

    kind: MutationKind = "self_adaptive"
    strength: Annotated[float, gt(0)] = 0.1
    min_strength: Annotated[float, gt(0)] = 0.001


@shape_checked
def mutated(
    parameters: Float64[np.ndarray, "p d"],
    strengths: Float64[np.ndarray, "p d"],
    config: MutationConfig,
    rng: np.random.Generator,
) -> tuple[Float64[np.ndarray, "p d"], Float64[np.ndarray, "p d"]]:
    """Returns mutated parameters and the strengths that they were mutated with.

    Args:
        parameters: Of the parents.
        strengths: Of the parents; returned as they are unless they adapt.
        config: How to mutate.
        rng: Draws what is added.
    """
    size, num = parameters.shape
    if config.kind == "self_adaptive":
        common = rng.standard_normal((size, 1)) / math.sqrt(2 * max(num, 1))
        own = rng.standard_normal((size, num)) / math.sqrt(2 * math.sqrt(max(num, 1)))
        strengths = np.maximum(strengths * np.exp(common + own), config.min_strength)
    return parameters + strengths * rng.standard_normal((size, num)), strengths
