import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.gate.permutation import column_order
from export.tolerance import SAME_MACHINE


@given(st.permutations(range(6)), st.sampled_from([1, 2]))
def test_the_order_of_swapped_columns_is_found(order, axis):
    values = np.random.default_rng(0).normal(size=(3, 6, 6)).astype(np.float32)
    found = column_order(values, values.take(order, axis), axis=axis, tolerance=SAME_MACHINE)
    if order == sorted(order):
        assert found is None
    else:
        np.testing.assert_array_equal(found, order)


@pytest.mark.parametrize(
    "change",
    [lambda v: v * 1.5, lambda v: v[:, :1], lambda v: v * np.nan],
    ids=["other values", "other shape", "not finite"],
)
def test_what_is_no_order_of_columns_has_none(change):
    values = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    assert column_order(values, change(values), axis=1, tolerance=SAME_MACHINE) is None
