"""Whether a difference between runs is more than the noise of their seeds and test images."""

import dataclasses
import math
import statistics
import warnings
from collections.abc import Sequence


def binomial_error(accuracy: float, num_images: int) -> float:
    """Standard error of an accuracy that was measured on so many images: sqrt(p (1 - p) / N)."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def distance(published: float, own: Sequence[float], error: float = 0.0) -> float | None:
    """By how many standard deviations a published value lies above the mean of our own.

    Were the published run one more draw from what our n runs were drawn from, its distance to
    their mean would have the variance s² (1 + 1/n), that of the prediction interval of a normal
    sample. The square of `error` is put on top: a widening on purpose, for the s of few runs is a
    poor guide. One run has no s: then both values have that error alone.

    Args:
        published: the value of one run.
        own: the values of our runs.
        error: standard error of such a value, beside the scatter of the runs.

    Returns:
        the distance; None where neither scatter nor error is known.
    """
    scatter = statistics.stdev(own) if len(own) > 1 else error
    deviation = math.sqrt(scatter**2 * (1 + 1 / len(own)) + error**2 * (len(own) > 1))
    return (published - statistics.fmean(own)) / deviation if deviation else None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of one sample less that of another, by Welch's test."""

    mean: float
    low: float  # of the interval that covers the true difference with 95%
    high: float
    p: float  # probability of a difference this large or larger, if there is none; two-sided


def welch(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compares two samples that may scatter differently (Welch 1947).

    Returns:
        the difference; None where a sample has one value only, or neither scatters.
    """
    from scipy import stats  # only now: it takes most of a second to import

    if min(len(first), len(second)) < 2:
        return None
    if statistics.stdev(first) == statistics.stdev(second) == 0:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one of the samples does not scatter
        result = stats.ttest_ind(first, second, equal_var=False)
        interval = result.confidence_interval(0.95)
    mean = statistics.fmean(first) - statistics.fmean(second)
    return Difference(mean, float(interval.low), float(interval.high), float(result.pvalue))
