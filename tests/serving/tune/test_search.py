"""The search on measurements made up, so that the best choice is known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from serving.tune.search import Choice, Point, Trial, search, splits, try_choice

Rate = Callable[[Choice], float]
GOAL_S = 0.1


@dataclass
class MadeUp:
    """A machine that answers ``rate(choice)`` at most; a request waits for those before it."""

    rate: Rate
    measured: list[tuple[Choice, int]] = field(default_factory=list)

    def __call__(self, choice: Choice, concurrencies: Sequence[int], /) -> Iterator[Point]:
        most = self.rate(choice)
        for concurrency in concurrencies:
            self.measured.append((choice, concurrency))
            yield Point(concurrency=concurrency, rate=min(most, 100.0 * concurrency), p99_s=concurrency / most)


def peak(*, instances: int, max_size: int, delay_ms: float) -> Rate:
    """Best at one choice, and worse by a tenth for each step away from it."""

    def rate(choice: Choice) -> float:
        steps = abs(choice.instances.bit_length() - instances.bit_length())
        steps += abs(choice.max_size.bit_length() - max_size.bit_length())
        steps += abs(choice.max_delay_ms - delay_ms) > 0
        return float(1000 * 0.9**steps)

    return rate


@pytest.mark.parametrize("instances", [1, 2, 4])
@pytest.mark.parametrize("max_size", [1, 4, 8, 64])
@pytest.mark.parametrize("delay_ms", [0.0, 1.0])
def test_the_known_best_choice_is_found(instances: int, max_size: int, delay_ms: float):
    found = search(MadeUp(peak(instances=instances, max_size=max_size, delay_ms=delay_ms)), cores=4, goal_s=GOAL_S)
    assert found.best is not None
    assert found.best.choice == Choice(
        instances=instances, intra_op_threads=4 // instances, max_size=max_size, max_delay_ms=delay_ms
    )


def test_the_same_measurements_give_the_same_steps():
    rate = peak(instances=2, max_size=16, delay_ms=0.0)
    first, second = MadeUp(rate), MadeUp(rate)
    search(first, cores=2, goal_s=GOAL_S)
    search(second, cores=2, goal_s=GOAL_S)
    assert first.measured == second.measured


def test_no_choice_is_measured_twice_nor_takes_more_than_the_cores():
    machine = MadeUp(peak(instances=2, max_size=1, delay_ms=2.0))
    found = search(machine, cores=6, goal_s=GOAL_S)
    assert len(set(machine.measured)) == len(machine.measured)
    assert all(trial.choice.instances * trial.choice.intra_op_threads <= 6 for trial in found.trials)


def test_a_load_is_raised_no_further_than_the_goal():
    found = search(MadeUp(lambda _: 1000.0), cores=1, goal_s=0.0045)
    (first, *_) = found.trials
    assert [point.concurrency for point in first.points] == [1, 2, 4, 8]
    assert first.best is not None
    assert first.best.concurrency == 4


def test_one_load_that_met_a_burst_does_not_end_a_trial():
    rates = iter([100.0, 90.0, 300.0, 301.0, 302.0, 999.0])

    def measure(_: Choice, concurrencies: Sequence[int], /) -> Iterator[Point]:
        for concurrency in concurrencies:
            yield Point(concurrency=concurrency, rate=next(rates), p99_s=0.001)

    trial = try_choice(measure, Choice(instances=1, intra_op_threads=1, max_size=1), goal_s=GOAL_S)
    assert (trial.rate, len(trial.points)) == (300.0, 5)


def test_where_nothing_meets_the_goal_nothing_is_proposed():
    found = search(MadeUp(lambda _: 1000.0), cores=2, goal_s=0.0001)
    assert found.best is None
    assert found.trials


def test_requests_without_a_result_end_a_trial_and_do_not_count():
    def measure(_: Choice, concurrencies: Sequence[int], /) -> Iterator[Point]:
        for concurrency in concurrencies:
            yield Point(concurrency=concurrency, rate=concurrency, p99_s=0.001, failed=int(concurrency > 2))

    found = search(measure, cores=1, goal_s=GOAL_S)
    assert found.best is not None
    assert (found.best.rate, [point.concurrency for point in found.best.points]) == (2, [1, 2, 4])


def test_when_the_time_is_over_the_rest_is_named_and_left_out():
    told: list[Trial] = []
    found = search(
        MadeUp(peak(instances=1, max_size=8, delay_ms=0.0)),
        cores=2,
        goal_s=GOAL_S,
        is_over=lambda: len(told) == 1,
        tell=told.append,
    )
    assert found.trials == tuple(told)
    assert len(told) == 1
    assert Choice(instances=1, intra_op_threads=2, max_size=8) in found.untried


def test_a_smaller_batch_that_loses_nothing_is_kept():
    found = search(MadeUp(lambda _: 1000.0), cores=1, goal_s=GOAL_S)
    assert found.best is not None
    assert (found.best.choice.max_size, found.best.choice.max_delay_ms) == (1, 0.0)


def test_a_fixed_batch_axis_leaves_its_own_size():
    found = search(MadeUp(lambda _: 1000.0), cores=1, goal_s=GOAL_S, max_sizes=(16,))
    assert {trial.choice.max_size for trial in found.trials} == {16}


@pytest.mark.parametrize(
    ("cores", "expected"), [(1, [(1, 1)]), (2, [(2, 1), (1, 2)]), (6, [(6, 1), (3, 2), (1, 4), (1, 6)])]
)
def test_cores_are_shared_out_from_many_runs_to_many_threads(cores: int, expected: list[tuple[int, int]]):
    assert splits(cores) == expected
