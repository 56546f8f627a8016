"""Box coding: the formula by hand, its limit, and what cannot be a box."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipelines.decoders.box_coding import apply_deltas, apply_distances, as_boxes, require_lines
from pipelines.errors import ModelOutputError

ANCHOR = np.array([[10.0, 20.0, 30.0, 60.0]])  # centre 20, 40; sides 20, 40
UNIT = (1.0, 1.0, 1.0, 1.0)


def test_deltas_move_by_sides_and_grow_by_exponentials() -> None:
    found = apply_deltas(
        ANCHOR, np.array([[1.0, -2.0, 5 * math.log(2), 0.0]]), weights=(10, 10, 5, 5), max_log_scale=None
    )
    # centre 20 + 0.1 * 20 = 22, 40 - 0.2 * 40 = 32; sides 20 * 2 = 40 and 40
    assert_allclose(found, [[2, 12, 42, 52]], rtol=1e-12)


def test_growth_is_limited_and_shrinking_is_not() -> None:
    deltas = np.array([[0.0, 0.0, 100.0, -100.0]])
    found = apply_deltas(ANCHOR, deltas, weights=UNIT, max_log_scale=math.log(1000 / 16))
    assert found[0, 2] - found[0, 0] == pytest.approx(20 * 1000 / 16)
    assert found[0, 3] - found[0, 1] == pytest.approx(0, abs=1e-12)


def test_distances_reach_left_top_right_and_bottom() -> None:
    assert apply_distances(np.array([[5.0, 6.0]]), np.array([[1.0, 2.0, 3.0, 4.0]])).tolist() == [[4, 4, 8, 10]]


def test_a_box_beyond_float32_is_refused_even_if_it_would_be_clipped() -> None:
    wide = apply_deltas(ANCHOR, np.array([[0.0, 0.0, 800.0, 0.0]]), weights=UNIT, max_log_scale=None)
    with pytest.raises(ModelOutputError, match="boxes from output 'deltas' must be finite, got 2 NaN or infinite"):
        as_boxes("deltas", wide, clip_hw=(10, 10))


def test_boxes_are_clipped_to_the_row() -> None:
    assert as_boxes("deltas", np.array([[-5.0, 5.0, 50.0, 70.0]]), clip_hw=(60, 40)).tolist() == [[0, 5, 40, 60]]


def test_another_number_of_lines_than_anchors_is_refused() -> None:
    words = r"output 'scores' must have one line for each of the 1,940 anchors of a row of 300 x 200, got 1,917"
    with pytest.raises(ModelOutputError, match=words):
        require_lines("scores", 1917, anchors=1940, row_hw=(300, 200))
