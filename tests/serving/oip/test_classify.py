import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.errors import InvalidRequestError
from serving.oip.classify import best_entries
from serving.oip.tensors import Tensor

ROWS = np.array([[0.25, 0.5, -1], [3, 3, 2]], np.float32)


def test_the_best_entries_are_value_index_and_label():
    found = best_entries(Tensor("logits", "FP32", ROWS), 2, ("a", "b", "c")).array
    assert found.tolist() == [[b"0.500000:1:b", b"0.250000:0:a"], [b"3.000000:0:a", b"3.000000:1:b"]]


def test_labels_that_are_not_one_an_index_are_left_out():
    found = best_entries(Tensor("logits", "FP32", ROWS), 1, ("a",)).array
    assert found.tolist() == [[b"0.500000:1"], [b"3.000000:0"]]


def test_more_classes_than_there_are_give_all():
    assert best_entries(Tensor("logits", "FP32", ROWS), 9, ()).array.shape == (2, 3)


def test_text_has_no_best_entries():
    with pytest.raises(InvalidRequestError, match="must be of rows of numbers"):
        best_entries(Tensor("text", "BYTES", np.array([b"a"], object)), 1, ())


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 6)), elements=st.floats(-9, 9, width=32)))
def test_the_order_is_that_of_a_sorted_list(rows: np.ndarray):
    found = best_entries(Tensor("x", "FP32", rows), rows.shape[1], ()).array
    for entries, row in zip(found, rows.tolist(), strict=True):
        expected = sorted(range(len(row)), key=lambda i: (-row[i], i))
        assert [int(entry.split(b":")[1]) for entry in entries] == expected
