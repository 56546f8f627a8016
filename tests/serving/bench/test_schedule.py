import numpy as np
import pytest

from serving.bench.schedule import poisson_starts


def test_the_same_seed_gives_the_same_moments_and_another_seed_others():
    first = poisson_starts(100, 5, seed=3)
    np.testing.assert_array_equal(first, poisson_starts(100, 5, seed=3))
    assert not np.array_equal(first[:10], poisson_starts(100, 5, seed=4)[:10])


@pytest.mark.parametrize(("rate", "duration_s"), [(0.5, 0.1), (1, 3), (40, 10), (1000, 2)])
def test_moments_ascend_and_end_with_the_duration(rate: float, duration_s: float):
    starts = poisson_starts(rate, duration_s, seed=0)
    assert np.all(np.diff(starts) >= 0)
    assert np.all((starts >= 0) & (starts < duration_s))


def test_gaps_are_those_of_a_poisson_process():
    gaps = np.diff(poisson_starts(200, 100, seed=0))
    # About 20,000 gaps: mean and deviation of an exponential distribution are equal, known to 0.7 %; 3 % is far beyond.
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 200, rel=0.03)


@pytest.mark.parametrize(("rate", "duration_s"), [(0, 1), (-1, 1), (1, 0), (float("nan"), 1)])
def test_a_rate_or_duration_of_nothing_is_refused(rate: float, duration_s: float):
    with pytest.raises(ValueError, match="must be above 0"):
        poisson_starts(rate, duration_s, seed=0)
