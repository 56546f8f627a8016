import numpy as np
import pytest

from pipelines.manifest import RawTolerance
from pipelines.raw_agreement import compare_raw

TOLERANCE = RawTolerance(rtol=0.0, atol=0.1)
EXPECTED = {"y": np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)}


def test_equal_outputs_agree_and_are_counted():
    found = compare_raw(EXPECTED, EXPECTED, TOLERANCE)
    assert (found.values, found.max_difference, found.problem) == (4, 0.0, None)


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (
            {"y": EXPECTED["y"] + np.float32([[0, 0], [0, 0.5]])},
            r"output 'y' of row 1 is 3.5 at \[1\], the reference 3",
        ),
        ({"y": EXPECTED["y"] * np.nan}, "output 'y' of row 0 is nan"),
        ({"y": EXPECTED["y"][:1]}, r"output 'y' has shape \(1, 2\), the reference \(2, 2\)"),
        ({"z": EXPECTED["y"]}, r"output 'y' is missing, there are \['z'\]"),
        ({"y": np.full((2, 2), np.inf)}, "output 'y' of row 0 is inf"),
    ],
)
def test_the_first_difference_is_named(got, problem):
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(compare_raw(EXPECTED, got, TOLERANCE).problem)


def test_a_difference_at_the_tolerance_is_a_ratio_of_one():
    found = compare_raw({"y": np.zeros((1, 1))}, {"y": np.full((1, 1), 0.1)}, TOLERANCE)
    assert (found.ratio, found.problem) == (1.0, None)


def test_equal_infinities_agree():
    infinite = {"y": np.array([[np.inf, -np.inf]])}
    assert compare_raw(infinite, infinite, TOLERANCE).problem is None
