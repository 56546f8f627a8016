from collections.abc import Callable, Mapping

import numpy as np
import pytest

from export.tolerance import SAME_MACHINE
from export.verify import different_rows, prove_rows, prove_same
from pipelines.errors import RecipeError
from pipelines.specs import TensorSpec
from pipelines.types import AnyArray
from tests.export.models import pixels


class Computed:
    """A session whose graph is a Python function of the batch."""

    provider = "python"

    def __init__(self, function: Callable[[AnyArray], Mapping[str, AnyArray]]) -> None:
        self._function = function
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 3)),)
        self.outputs = ()

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        return dict(self._function(feeds["x"]))

    def close(self) -> None:
        pass


def good(batch: AnyArray) -> dict[str, AnyArray]:
    return {"y": batch * 2}


def test_rows_that_do_not_see_each_other_are_proven():
    parity = prove_rows(Computed(good), pixels(4, 3))
    assert (parity.rows, parity.values, parity.max_difference) == (4, 12, 0.0)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (
            lambda batch: {"y": batch * 2 + (len(batch) - 1)},
            "output 'y' of row 0 differs by 3 alone and in a batch of 4",
        ),
        (lambda batch: {"y": np.roll(batch, 1, axis=0)}, "output 'y' of row 0 differs"),
        (lambda batch: {"y": np.repeat(batch[:1], len(batch), axis=0)}, "output 'y' of row 1 differs"),
        (lambda batch: {"y": batch - batch.mean(axis=0)}, "is the same for 4 different rows"),
        (lambda batch: {"y": batch[:1]}, "does not run a batch of 4: output 'y' must have 4 rows"),
        (lambda batch: {"y": batch / (len(batch) == 1)}, "output 'y' of row 0 differs"),
    ],
    ids=["batch size", "rows shifted", "first row repeated", "batch statistics", "rows missing", "not finite"],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_graph_whose_rows_depend_on_the_batch_is_refused(function, problem):
    with pytest.raises(RecipeError, match=problem):
        prove_rows(Computed(function), pixels(4, 3))


def test_rows_that_all_give_one_answer_prove_nothing():
    with pytest.raises(RecipeError, match="the batch proof is empty: output 'y'"):
        prove_rows(Computed(lambda batch: {"y": np.ones((len(batch), 2))}), pixels(4, 3))


def test_one_row_proves_nothing():
    with pytest.raises(RecipeError, match="at least 2 rows, got 1"):
        prove_rows(Computed(good), pixels(1, 3))


def test_a_rewritten_graph_is_compared_output_by_output():
    reference = Computed(lambda batch: {"y": batch, "dropped": batch + 1})
    parity = prove_same(reference, Computed(lambda batch: {"y": batch + 1e-6}), pixels(2, 3), tolerance=SAME_MACHINE)
    assert parity.values == 6
    assert 0 < parity.max_difference < 2e-6  # 1e-6 and float32 rounding


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (lambda batch: {"y": batch * 1.001}, "output 'y' of row 0 differs by"),
        (lambda batch: {"y": batch * np.nan}, "output 'y' of row 0 differs by nan"),
        (lambda batch: {"y": batch[:, :2]}, r"row 0 has shape \(2,\), expected \(3,\)"),
        (lambda batch: {"z": batch}, "the reference has no output 'z', it has"),
    ],
)
def test_a_rewrite_that_changes_an_answer_is_refused(function, problem):
    with pytest.raises(RecipeError, match=problem):
        prove_same(Computed(lambda batch: {"y": batch}), Computed(function), pixels(2, 3), tolerance=SAME_MACHINE)


def test_equal_infinities_are_equal():
    infinite = Computed(lambda batch: {"y": np.where(batch > 0, np.inf, batch)})
    assert prove_same(infinite, infinite, pixels(2, 3), tolerance=SAME_MACHINE).max_difference == 0


@pytest.mark.parametrize(("layout", "shape"), [("chw", (3, 8, 12)), ("hwc", (8, 12, 3))])
def test_rows_made_of_one_are_all_different_and_keep_its_values(layout, shape):
    row = pixels(*shape)
    batch = different_rows(row, count=4, layout=layout)
    assert len(np.unique(batch.reshape(4, -1), axis=0)) == 4
    np.testing.assert_array_equal(batch[0], row)
    channel = 0 if layout == "chw" else 2
    for other in batch:  # every channel keeps its own pixels.
        for i in range(3):
            np.testing.assert_array_equal(
                np.sort(other.take(i, channel), axis=None), np.sort(row.take(i, channel), axis=None)
            )
