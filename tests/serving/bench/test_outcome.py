import math
from typing import Any

import numpy as np
import pytest

from serving.bench.outcome import Outcome


def outcome(**over: Any) -> Outcome:
    fields: dict[str, Any] = {"codes": {"OK": 4, "UNAVAILABLE": 1}, "latency_s": np.array([1.0, 2, 3, 4])}
    return Outcome(**(fields | {"seconds": 2.0, "cpu_s": 0.5} | over))


def test_rates_and_counts_follow_from_codes_and_time():
    one = outcome()
    assert (one.sent, one.ok, one.rate, one.generator_cores) == (5, 4, 2.0, 0.25)


@pytest.mark.parametrize(("percent", "latency_s"), [(25, 1), (50, 2), (51, 3), (99, 4), (100, 4)])
def test_a_percentile_is_the_smallest_latency_that_so_many_stay_within(percent: float, latency_s: float):
    assert outcome().percentile_s(percent) == latency_s


def test_without_answers_a_percentile_is_no_number():
    assert math.isnan(outcome(codes={"INTERNAL": 1}, latency_s=np.empty(0)).percentile_s(50))


@pytest.mark.parametrize(("limit_s", "rate"), [(0.5, 0.0), (2.0, 1.0), (9.0, 2.0)])
def test_results_within_a_limit_count_the_limit_itself(limit_s: float, rate: float):
    assert outcome().within(limit_s) == rate


def test_as_many_latencies_as_answers_are_wanted():
    with pytest.raises(ValueError, match="each of 4 answers, got 1"):
        outcome(latency_s=np.array([1.0]))
