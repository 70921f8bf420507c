"""What a few seeds say of a mean: Student's t interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95

FEWEST_SEEDS = 3
"""With fewer an interval says next to nothing: with two, Student's factor is 12.7."""

METHOD = (
    f"mean ± half the {CONFIDENCE:.0%} interval of Student's t (Student 1908, Biometrika 6:1): t(n−1)·s/√n, "
    "n seeds, s their standard deviation"
)


@dataclass
class Interval:
    """A mean, and how far from it the true one may lie.

    Attributes:
        mean: The mean.
        half_width: Half the interval's width; None for a single value, of which it is unknown.
        num_values: How many values it is made of.
    """

    mean: float
    half_width: float | None
    num_values: int


def interval_of(values: Sequence[float]) -> Interval:
    """Returns the mean with its 95 % interval, for values drawn independently from a normal distribution.

    Source: Student, "The probable error of a mean", Biometrika 6(1), 1908; the quantile is SciPy's.

    Args:
        values: One per seed, at least one; with one that is not finite there is no interval.
    """
    from scipy.special import stdtrit  # Only here: it takes longer to import than the rest of the program.

    number = len(values)
    if not all(map(math.isfinite, values)):
        return Interval(math.nan, None, number)
    mean = statistics.fmean(values)
    if number == 1:
        return Interval(mean, None, number)
    factor = float(stdtrit(number - 1, (1 + CONFIDENCE) / 2))
    return Interval(mean, factor * statistics.stdev(values) / math.sqrt(number), number)
