import numpy as np
import pytest

from export.doctor import statistics
from tests.builders import f32


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.2, 0.3, 0.5], True), ([0.2, 0.3, 0.4], False), ([1.5, -0.5], False), ([1.0], False)],
    ids=["a softmax", "too little", "no probabilities", "one value shows nothing"],
)
def test_sums_to_one(values: list[float], expected: bool) -> None:
    assert statistics.sum_to_one(f32(values), axis=0) is expected


def test_log_probabilities_are_told_from_probabilities() -> None:
    assert statistics.are_log_probabilities(np.log(f32([0.2, 0.8])), axis=0)
    assert not statistics.are_log_probabilities(f32([0.2, 0.8]), axis=0)


def test_float16_rounding_leaves_probabilities_what_they_are() -> None:
    assert statistics.are_probabilities(f32([1.0005, -0.0005]))
    assert not statistics.are_probabilities(f32([1.01]))


def test_whole_numbers_must_be_there() -> None:
    assert statistics.are_whole(f32([0, 3, 7]))
    assert not statistics.are_whole(f32([0, 3.5]))
    assert not statistics.are_whole(f32([]))


def test_sorted_is_falling_and_not_constant() -> None:
    assert statistics.are_sorted(f32([3, 2, 2]))
    assert not statistics.are_sorted(f32([2, 2, 2]))
    assert not statistics.are_sorted(f32([2, 3]))
    assert not statistics.are_sorted(f32([]))


def test_corners_never_turn_back() -> None:
    assert statistics.are_corners(f32([[0, 0, 5, 5]]))
    assert not statistics.are_corners(f32([[0, 6, 5, 5]]))
    assert not statistics.are_corners(np.empty((0, 4), np.float32))


def test_a_constant_correlates_with_nothing() -> None:
    assert statistics.correlation(f32([1, 1]), f32([1, 2])) == 0
    assert statistics.correlation(f32([1, 2, 3]), f32([2, 4, 6])) == pytest.approx(1)


def test_a_span_of_nothing_says_so() -> None:
    assert statistics.span(f32([])) == "no values"
    assert statistics.span(f32([-1, 2.5])) == "-1 to 2.5"
