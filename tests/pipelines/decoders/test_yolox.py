"""YOLOX rows: a cell computed by hand, the naive loop, a round trip, and the family's own post-processing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.yolox import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import Yolox
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_yolo
from tests.pipelines.decoders.naive_yolo import FIXTURES, QUIET, SURE, require_equal

STRIDES = (8, 16, 32)
ROW_HW = (64, 96)
ROWS = 12 * 8 + 6 * 4 + 3 * 2


def yolox(**over: Any) -> Yolox:
    fields = {"kind": "yolox", "output": "rows", "strides": STRIDES, "activation": "none", "multi_label": False}
    return Yolox.model_validate(fields | over)


def run(rows: Any, spec: Yolox, *, score_threshold: float = 0.25) -> Candidates:
    return decode({"rows": f32(rows)}, spec, row_hw=ROW_HW, score_threshold=score_threshold)


def quiet_rows(num_classes: int = 3) -> AnyArray:
    return np.zeros((ROWS, 5 + num_classes), np.float32)


def test_a_cell_computed_by_hand() -> None:
    rows = quiet_rows()
    rows[96 + 6 + 2] = [0.5, -0.25, np.log(2), np.log(3), 0.8, 0, 0, 0.5]  # stride 16: x = 2, y = 1
    found = run(rows, yolox())
    # Centre ((2 + 0.5) * 16, (1 - 0.25) * 16) = (40, 12); sides 2 * 16 = 32 and 3 * 16 = 48.
    np.testing.assert_allclose(found.boxes, [[24, -12, 56, 36]], atol=1e-5)  # float32 logarithms
    np.testing.assert_allclose(found.scores, [0.4], rtol=1e-6)
    assert found.class_ids.tolist() == [2]
    assert found.num_classes == 3


@pytest.mark.parametrize("multi_label", [False, True])
def test_rows_decode_as_the_published_code_decodes_them(multi_label: bool) -> None:
    fixture = np.load(FIXTURES / "yolox" / "yolox.npz")
    found = decode({"rows": fixture["raw"]}, yolox(multi_label=multi_label), row_hw=ROW_HW, score_threshold=0.2)
    counts = fixture["scores"] >= 0.2
    if not multi_label:
        counts &= np.arange(4) == fixture["scores"].argmax(axis=1)[:, None]
    places, class_ids = np.nonzero(counts)
    boxes = [naive_yolo.box_around(*box) for box in fixture["boxes_cxcywh"][places].tolist()]
    assert len(places) > 30
    require_equal(found, list(zip(boxes, fixture["scores"][places, class_ids], class_ids.tolist(), strict=True)))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from(["sigmoid", "none"]), st.booleans())
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, activation: str, multi_label: bool) -> None:
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1.5, (ROWS, 4)) if activation == "sigmoid" else random.uniform(0, 1, (ROWS, 4))
    rows = f32(np.concatenate((random.normal(0, 1, (ROWS, 4)), scores), axis=1))
    found = run(rows, yolox(activation=activation, multi_label=multi_label), score_threshold=threshold)
    expected = naive_yolo.yolox(
        rows, row_hw=ROW_HW, strides=STRIDES, activation=activation, threshold=threshold, multi_label=multi_label
    )
    require_equal(found, expected)


@given(st.integers(0, 10_000))
def test_boxes_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, expected = quiet_rows(), []
    rows[:, 4:] = QUIET
    places = list(naive_yolo.cells(ROW_HW, STRIDES))
    for place in np.sort(random.permutation(ROWS)[:10]):
        stride, x, y = places[place]
        (cx, cy), (width, height) = random.uniform(-20, 120, 2), random.uniform(2, 90, 2)
        class_id = int(random.integers(3))
        rows[place, :5] = [cx / stride - x, cy / stride - y, np.log(width / stride), np.log(height / stride), SURE]
        rows[place, 5 + class_id] = SURE
        expected.append((naive_yolo.box_around(cx, cy, width, height), 1.0, class_id))
    require_equal(run(rows, yolox(activation="sigmoid")), expected)


def test_strides_are_read_in_the_order_given() -> None:
    rows = quiet_rows()
    rows[0] = [0.5, 0.5, 0, 0, 1, 1, 0, 0]
    found = run(rows, yolox(strides=(32, 16, 8)))
    assert found.boxes.tolist() == [[0, 0, 32, 32]]


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_quiet_head_gives_empty_arrays_of_the_right_shape(multi_label: bool) -> None:
    found = run(quiet_rows(), yolox(multi_label=multi_label))
    assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
    assert (found.scores.shape, found.scores.dtype) == ((0,), np.float32)
    assert (found.class_ids.shape, found.class_ids.dtype) == ((0,), np.int64)
    assert found.num_classes == 3


def test_an_output_that_is_not_finite_is_refused() -> None:
    rows = quiet_rows()
    rows[3, 2] = np.nan
    with pytest.raises(ModelOutputError, match="'rows' must be finite, got 1 NaN"):
        run(rows, yolox())


def test_a_side_beyond_float32_is_refused() -> None:
    rows = quiet_rows()
    rows[0] = [0, 0, 800, 0, 1, 1, 0, 0]
    with pytest.raises(ModelOutputError, match="boxes from output 'rows' must be finite"):
        run(rows, yolox())


def test_logits_where_probabilities_are_promised_are_refused() -> None:
    rows = quiet_rows()
    rows[:, 4] = -7
    with pytest.raises(ModelOutputError, match="'rows' must hold probabilities from 0 to 1, got -7 to -7"):
        run(rows, yolox())


@pytest.mark.parametrize("strides", [(8, 16), (8, 16, 32, 64)])
def test_rows_of_other_strides_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(ModelOutputError, match=r"'rows' must have shape \(1\d\d, any\) a row, got \(126, 8\)"):
        run(quiet_rows(), yolox(strides=strides))


def test_rows_without_a_class_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"'rows' must have 5 \+ classes columns, got 5"):
        run(quiet_rows(num_classes=0), yolox())


def test_a_spec_names_the_output_that_it_reads() -> None:
    assert yolox().output_names == ("rows",)
