"""End-to-end rows: an answer worked by hand in both units, the naive filter, a round trip, and bad answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.end_to_end import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import EndToEnd
from tests.builders import f32

FIXTURE = Path(__file__).parents[2] / "fixtures" / "decoders" / "end_to_end" / "libreyolo.npz"
ROW_HW = (64, 128)
# As YOLOv10 (arXiv:2405.14458, section 3.1) answers without suppression: the best M, best first, the rest padding.
ANSWER = [
    [8, 16, 40, 48, 0.75, 2],
    [64, 0, 128, 64, 0.5, 0],
    [1, 1, 2, 2, 0.25, 1],
    [0, 0, 0, 0, 0.0, 0],
]


def end_to_end(**over: Any) -> EndToEnd:
    fields = {"kind": "end_to_end", "output": "rows", "unit": "pixel", "num_classes": 3}
    return EndToEnd.model_validate(fields | over)


def run(rows: Any, spec: EndToEnd, *, score_threshold: float = 0.5) -> Candidates:
    return decode({"rows": f32(rows)}, spec, row_hw=ROW_HW, score_threshold=score_threshold)


def test_rows_at_the_threshold_or_above_are_the_candidates() -> None:
    found = run(ANSWER, end_to_end())
    assert found.boxes.tolist() == [[8, 16, 40, 48], [64, 0, 128, 64]]
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.class_ids.tolist() == [2, 0]
    assert found.num_classes == 3


def test_rows_are_read_as_libreyolo_reads_them() -> None:
    fixture = np.load(FIXTURE)
    found = run(fixture["rows"], end_to_end(num_classes=80), score_threshold=float(fixture["threshold"]))
    assert len(fixture["boxes"]) >= 50
    np.testing.assert_array_equal(found.boxes, fixture["boxes"])
    np.testing.assert_array_equal(found.scores, fixture["scores"])
    np.testing.assert_array_equal(found.class_ids, fixture["class_ids"])


def test_normalised_boxes_are_multiplied_by_the_sides_of_the_row() -> None:
    found = run([[0.0625, 0.25, 0.3125, 0.75, 0.75, 2]], end_to_end(unit="normalized"))
    assert found.boxes.tolist() == [[8, 16, 40, 48]]


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from(["pixel", "normalized"]))
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, unit: str) -> None:
    random = np.random.default_rng(seed)
    rows = f32(np.concatenate((random.uniform(-1, 2, (20, 5)), random.integers(0, 3, (20, 1))), axis=1))
    rows[:, 4] = random.uniform(0, 1, 20)
    found = run(rows, end_to_end(unit=unit), score_threshold=threshold)
    width, height = (ROW_HW[1], ROW_HW[0]) if unit == "normalized" else (1, 1)
    expected = [
        (x1 * width, y1 * height, x2 * width, y2 * height, score, class_id)
        for x1, y1, x2, y2, score, class_id in rows.tolist()
        if score >= np.float32(threshold)
    ]
    got = np.concatenate((found.boxes, found.scores[:, None], found.class_ids[:, None]), axis=1)
    np.testing.assert_allclose(got, np.array(expected).reshape(-1, 6), rtol=1e-6)  # rounded to float32


@given(st.integers(0, 10_000))
def test_boxes_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    boxes = f32(random.uniform(0, 128, (10, 4)))
    rows = np.concatenate((boxes / [128, 64, 128, 64], random.uniform(0.5, 1, (10, 1)), np.ones((10, 1))), axis=1)
    found = run(rows, end_to_end(unit="normalized"))
    np.testing.assert_allclose(found.boxes, boxes, rtol=1e-6)  # rounded to float32 twice


@pytest.mark.parametrize("rows", [np.zeros((300, 6)), np.zeros((0, 6))], ids=["padding", "no row"])
@pytest.mark.parametrize("unit", ["pixel", "normalized"])
def test_an_answer_without_objects_gives_empty_arrays_of_the_right_shape(rows: Any, unit: str) -> None:
    found = run(rows, end_to_end(unit=unit))
    assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
    assert (found.scores.shape, found.scores.dtype) == ((0,), np.float32)
    assert (found.class_ids.shape, found.class_ids.dtype) == ((0,), np.int64)


def test_padding_may_name_no_class() -> None:
    found = run([ANSWER[0], [0, 0, 0, 0, -1, -1]], end_to_end())
    assert found.class_ids.tolist() == [2]


@pytest.mark.parametrize("class_id", [-1, 3, 0.5, 1e30])
def test_a_class_that_does_not_exist_is_refused(class_id: float) -> None:
    with pytest.raises(ModelOutputError, match="whole class numbers from 0 to 2 in column 5, got"):
        run([[0, 0, 1, 1, 0.9, class_id]], end_to_end())


def test_a_score_above_one_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must hold probabilities from 0 to 1, got 4 to 4"):
        run([[0, 0, 1, 1, 4.0, 0]], end_to_end())


def test_an_answer_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="'rows' must be finite, got 1 NaN"):
        run([[0, 0, np.nan, 1, 0.9, 0]], end_to_end())


def test_a_normalised_box_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="boxes from output 'rows' must be finite"):
        run([[0, 0, 3e38, 1, 0.9, 0]], end_to_end(unit="normalized"))


@pytest.mark.parametrize("shape", [(300, 7), (6, 300), (300,), (1, 300, 6)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelOutputError, match=r"'rows' must have shape \(any, 6\) a row"):
        run(np.zeros(shape), end_to_end())


def test_a_missing_output_is_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"must answer output 'rows', got \['other'\]"):
        decode({"other": f32(ANSWER)}, end_to_end(), row_hw=ROW_HW, score_threshold=0.5)


def test_a_spec_names_the_output_that_it_reads() -> None:
    assert end_to_end().output_names == ("rows",)
