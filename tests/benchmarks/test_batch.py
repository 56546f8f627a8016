"""What the benchmark of batch jobs makes of its rounds, and how its two sides take turns."""

from __future__ import annotations

from multiprocessing.connection import Connection

import pytest

from benchmarks.batch import Rate, Round, Side, median_ratios


def test_a_ratio_is_of_one_round_and_the_median_counts():
    quiet, busy, odd = Rate(100.0, 0.010), Rate(50.0, 0.012), Rate(80.0, 0.011)
    rounds = [Round(quiet, Rate(90.0, 0.0125)), Round(busy, Rate(48.0, 0.0125)), Round(odd, Rate(40.0, 0.022))]
    assert median_ratios(rounds) == pytest.approx((0.9, 0.8))


def test_a_side_works_in_its_turns_alone_and_tells_its_rate():
    with Side(count_to_a_million) as side:
        rows = turns = 0
        while not rows:
            rows = side.turn() or 0
            turns += 1
        rate = side.rate(rows)
    assert rows == 1_000_000
    assert rate.images_per_s == pytest.approx(rows / side.seconds)
    assert 0 < rate.cpu_s * rows <= 2 * side.seconds  # the machine has cores, and a clock of 10 ms


def count_to_a_million(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()
    count = 0
    while count < 1_000_000:
        count += 1
    pipe.send(count)
    pipe.recv()
