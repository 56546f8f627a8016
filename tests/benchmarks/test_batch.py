"""What the benchmark of batch jobs makes of its rounds."""

from __future__ import annotations

import pytest

from benchmarks.batch import Rate, median_ratios


def test_a_ratio_is_of_one_round_and_the_median_counts():
    quiet, busy, odd = Rate(100.0, 0.010), Rate(50.0, 0.012), Rate(80.0, 0.011)
    rounds = [(quiet, Rate(90.0, 0.0125)), (busy, Rate(48.0, 0.0125)), (odd, Rate(40.0, 0.022))]
    assert median_ratios(rounds) == pytest.approx((0.9, 0.8))
