import math
from typing import Any

import numpy as np
import pytest

from serving.bench.figures import Figures, beside, figures_of, medians, to_json
from serving.bench.floor import Floor
from serving.bench.outcome import Outcome
from serving.bench.scrape import Scrape


def figures(**over: Any) -> Figures:
    times = dict.fromkeys(("p50_s", "p90_s", "p95_s", "p99_s", "generator_cores"), 0.1)
    return Figures(**({"load": "8 concurrent", "codes": {"OK": 2}, "rate": 10.0, **times} | over))


def test_the_servers_cost_is_by_row_that_got_a_result():
    outcome = Outcome(codes={"OK": 2}, latency_s=np.array([0.1, 0.3]), seconds=2.0, cpu_s=1.0)
    server = Scrape(cpu_s=3.0, resident_bytes=0, images=10, inference_s=2, wasted_s=0.5, runs=4, codes={"OK": 2})
    found = figures_of("2 concurrent", outcome, server)
    assert (found.server_cpu_s, found.server_cores, found.rows_per_run, found.wasted) == (0.3, 1.5, 2.5, 0.25)
    assert (found.rate, found.p50_s, found.p99_s, found.generator_cores) == (1.0, 0.1, 0.3, 0.5)


def test_what_a_server_does_not_tell_is_no_number():
    outcome = Outcome(codes={"OK": 1}, latency_s=np.array([0.1]), seconds=1.0, cpu_s=1.0)
    found = figures_of("1 concurrent", outcome, None)
    assert math.isnan(found.server_cpu_s)
    assert to_json(found)["server_cpu_s"] is None


def test_ratios_are_against_the_mean_of_the_floors_around_a_load():
    floors = [Floor(rate=rate, cpu_s=cpu_s, p50_s=0.02, rows=1, threads=2) for rate, cpu_s in ((10, 0.1), (30, 0.3))]
    found = beside(figures(rate=10.0, server_cpu_s=0.3), floors)
    assert (found.rate_ratio, found.cpu_ratio, found.added_s) == pytest.approx((0.5, 1.5, 0.08))


def test_medians_leave_out_what_was_not_measured_and_add_codes():
    rounds = [
        figures(rate=1.0, server_cpu_s=5.0),
        figures(rate=9.0, codes={"OK": 1, "INTERNAL": 1}),
        figures(rate=2.0, server_cpu_s=7.0),
    ]
    found = medians(rounds)
    assert (found.rate, found.server_cpu_s, found.codes) == (2.0, 6.0, {"OK": 5, "INTERNAL": 1})
    assert found.failed == 1
    assert math.isnan(found.late_s)
