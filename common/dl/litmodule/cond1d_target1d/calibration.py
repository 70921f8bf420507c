"""How well samples tell where the truth may lie.

Where truth and samples are drawn alike, the truth is equally likely to fall into each of the S + 1 gaps that S sorted
samples leave (order statistics; Hamill 2001, "Interpretation of rank histograms", Monthly Weather Review 129).

Axes: S samples; the others are anything.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from common.utils.beartype import shape_checked


@shape_checked
def part_within(samples: Float[Tensor, "S ..."], target: Float[Tensor, "..."], level: float) -> Float[Tensor, "..."]:
    """Returns how far each target lies within the samples' central interval, from 0 to 1; in the mean, its coverage.

    A gap stands for 1 / (S + 1) of the probability. The gaps at the interval's ends may stand partly within it and
    count in part, so that the mean is `level` for calibrated samples, however few there are: quantiles of 16
    samples would hold 80.6 % in their "90 %". A target that equals samples is spread over the gaps beside them.

    Args:
        samples: What was predicted.
        target: What came true.
        level: Probability of the interval, such as 0.9.
    """
    num_gaps = len(samples) + 1
    first, last = (samples < target).sum(dim=0), (samples <= target).sum(dim=0)
    edges = torch.arange(num_gaps + 1, device=samples.device, dtype=torch.float64) / num_gaps
    within = edges.clamp(0.5 - level / 2, 0.5 + level / 2)  # The probability up to each edge that the interval holds.
    held = (within[last + 1] - within[first]) * num_gaps / (last + 1 - first)
    return held.to(samples.dtype)


@shape_checked
def central_interval(samples: Float[Tensor, "S ..."], level: float) -> tuple[Tensor, Tensor, float]:
    """Returns the order statistics whose interval comes closest to a probability, and the one that it has.

    Args:
        samples: What was predicted, at least two.
        level: The wanted probability, such as 0.9.
    """
    num_gaps = len(samples) + 1
    left_out = min(max(round(num_gaps * (1 - level) / 2), 1), len(samples) // 2)
    ordered = samples.sort(dim=0).values
    return ordered[left_out - 1], ordered[len(samples) - left_out], 1 - 2 * left_out / num_gaps
