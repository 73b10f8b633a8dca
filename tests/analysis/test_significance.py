"""Statistics of a reproduction, compared with manual results and with simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.analysis.significance import binomial_error, distance, welch


def test_binomial_error_of_ten_thousand_images() -> None:
    assert binomial_error(0.99, 10_000) == pytest.approx(0.000994987)


def test_distance_by_hand() -> None:
    own = [0.98, 0.99, 1.00]  # s = 0.01, so s² (1 + 1/3) = 1.3333e-4
    assert distance(1.0, own) == pytest.approx(0.01 / np.sqrt(1.3333333e-4))
    assert distance(1.0, own, error=0.02) == pytest.approx(0.01 / np.sqrt(1.3333333e-4 + 4e-4))
    assert distance(0.98, own) == pytest.approx(-0.01 / np.sqrt(1.3333333e-4))


def test_distance_of_a_single_run_uses_the_error_of_both_values() -> None:
    assert distance(0.99, [0.98], error=0.01) == pytest.approx(1 / np.sqrt(2))


def test_without_spread_and_error_there_is_no_distance() -> None:
    assert distance(0.99, [0.98]) is None
    assert distance(0.99, [0.98, 0.98]) is None


@pytest.mark.parametrize("num_runs", [5, 20])
def test_a_published_run_of_the_same_kind_is_mostly_inside(num_runs: int) -> None:
    """The distance follows Student's t distribution: its variance is (n-1)/(n-3)."""
    rng = np.random.default_rng(0)
    draws = rng.normal(0.99, 0.001, (4000, num_runs + 1))
    distances = [distance(row[0], row[1:].tolist()) for row in draws]
    expected = np.sqrt((num_runs - 1) / (num_runs - 3))
    assert np.std(np.array(distances, float)) == pytest.approx(expected, rel=0.1)


def test_welch_by_hand() -> None:
    """t = -2 / sqrt(2/3) = -2.449, 4 degrees of freedom: p = 0.0705; 2.77645 * 0.8165 = 2.26696."""
    found = welch([1.0, 2.0, 3.0], [3.0, 4.0, 5.0])
    assert found is not None
    assert found.mean == -2
    assert (found.low, found.high) == pytest.approx((-2 - 2.26696, -2 + 2.26696), rel=1e-4)
    assert found.p == pytest.approx(0.0705, abs=1e-4)


@pytest.mark.parametrize("counts", [(2, 2), (5, 5), (2, 4)], ids=str)
def test_two_constant_samples_are_compared_by_permutation(counts: tuple[int, int]) -> None:
    first, second = [4.0] * counts[0], [9.0] * counts[1]
    found = welch(first, second)
    assert found is not None
    assert found.mean == -5
    exact = stats.permutation_test(
        (first, second), lambda a, b: np.mean(a) - np.mean(b), n_resamples=np.inf, vectorized=False
    )
    assert found.p == pytest.approx(exact.pvalue)


def test_welch_gives_no_result_for_too_few_or_constant_values() -> None:
    assert welch([1.0], [2.0, 3.0]) is None
    assert welch([1.0, 1.0], [1.0, 1.0, 1.0]) is None
    assert welch([1.0, 1.0, 1.0], [2.0, 2.0, 2.1]) is not None


values = st.lists(st.integers(9000, 10_000).map(lambda n: n / 10_000), min_size=2, max_size=8)


@settings(max_examples=50, deadline=None)
@given(values, values)
def test_welch_is_antisymmetric_and_its_interval_agrees_with_p(
    first: list[float], second: list[float]
) -> None:
    found, other = welch(first, second), welch(second, first)
    if found is None or other is None:
        assert found is other
        return
    assert found.mean == pytest.approx(-other.mean)
    assert found.p == pytest.approx(other.p)
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
