import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.intervals import beta_cdf, clopper_pearson, compared, trials_needed


@given(st.floats(0, 1), st.floats(0.5, 500), st.floats(0.5, 5000))
def test_the_beta_distribution_is_that_of_scipy(x: float, a: float, b: float):
    # 1e-9: lgamma of thousands leaves 12 digits of the logarithm, and thus of the value.
    assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 1000), (50, 100_000), (2.5, 77.3), (7, 9)])
def test_the_interval_is_that_of_the_beta_quantiles(successes: float, trials: float):
    low, high = clopper_pearson(successes, trials)
    expected_low = stats.beta.ppf(0.025, successes, trials - successes + 1) if successes else 0.0
    expected_high = stats.beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1.0
    assert (low, high) == pytest.approx((expected_low, expected_high), rel=1e-9)


@given(st.floats(0.001, 0.999), st.integers(0, 60), st.integers(60, 5000))
def test_a_rate_is_compared_as_with_the_ends(rate: float, successes: int, trials: int):
    low, high = clopper_pearson(successes, trials)
    assert compared(rate, successes, trials) == (-1 if rate < low else 1 if rate > high else 0)


def test_without_trials_nothing_is_known():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("rate", "needed"), [(0.5, 5), (0.05, 59), (0.01, 299), (0.001, 2995)])
def test_the_rule_of_three(rate: float, needed: int):
    assert trials_needed(rate) == needed
    assert (1 - rate) ** needed <= 0.05 < (1 - rate) ** (needed - 1)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_rate_that_is_none_is_refused(rate: float):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        trials_needed(rate)
