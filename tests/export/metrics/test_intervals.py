import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from export.metrics.intervals import wilson


@given(st.integers(1, 2000), st.floats(0, 1))
def test_the_interval_is_scipys(trials, share):
    successes = round(share * trials)
    wanted = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((wanted.low, wanted.high), abs=1e-9)  # scipy clips roundings


def test_without_trials_nothing_is_known():
    assert wilson(0, 0) == (0, 1)
