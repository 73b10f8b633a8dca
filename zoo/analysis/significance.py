"""Whether a difference between runs exceeds the noise of seeds and test images."""

import dataclasses
import math
import statistics
import warnings
from collections.abc import Sequence


def binomial_error(accuracy: float, num_images: int) -> float:
    """Standard error of an accuracy measured on N images: sqrt(p (1 - p) / N)."""
    return math.sqrt(accuracy * (1 - accuracy) / num_images)


def distance(published: float, own: Sequence[float], error: float = 0.0) -> float | None:
    """How many standard deviations a published value lies above the mean of our values.

    If the published run were one more sample from the distribution of our n runs, its distance to
    their mean would have the variance s² (1 + 1/n), as in the prediction interval of a normal
    sample. The square of `error` is added on purpose, because s is unreliable for few runs. With
    one run there is no s: then both values have only that error.

    Args:
        published: the value of one run.
        own: the values of our runs.
        error: standard error of such a value, in addition to the spread of the runs.

    Returns:
        the distance; None if neither spread nor error is known.
    """
    scatter = statistics.stdev(own) if len(own) > 1 else error
    deviation = math.sqrt(scatter**2 * (1 + 1 / len(own)) + error**2 * (len(own) > 1))
    return (published - statistics.fmean(own)) / deviation if deviation else None


@dataclasses.dataclass(frozen=True)
class Difference:
    """The mean of one sample minus that of another."""

    mean: float
    low: float  # of the 95% confidence interval
    high: float
    p: float  # two-sided: probability of a difference this large or larger under equal means


def welch(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """Compares two samples that may have different variances (Welch 1947).

    Of two constant samples Welch's test knows no variance. Their p is that of the exact permutation
    test (Fisher 1935): one of the ways to divide all values separates them so, and for two sides
    it counts twice.

    Returns:
        the difference; None if a sample has fewer than two values, or all values are the same.
    """
    from scipy import stats  # imported late: it takes most of a second

    if min(len(first), len(second)) < 2:
        return None
    mean = statistics.fmean(first) - statistics.fmean(second)
    if statistics.stdev(first) == statistics.stdev(second) == 0:
        if first[0] == second[0]:
            return None
        ways = math.comb(len(first) + len(second), len(first))
        return Difference(mean, mean, mean, min(1.0, 2 / ways))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one of the samples is constant
        result = stats.ttest_ind(first, second, equal_var=False)
        interval = result.confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high), float(result.pvalue))
