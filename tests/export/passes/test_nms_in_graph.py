"""Suppression inside the graph against the pipeline's own: a graph that hands on made-up scores and box deltas."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from export.graph import inspect_graph
from export.passes.nms_in_graph import OUTPUT, nms_in_graph
from export.suppressed_session import SuppressedSession
from pipelines.specs import DetectionHead, Nms, TensorSpec
from pipelines.types import AnyArray
from tests.export.models import parse, run
from tests.export.subjects import detection

ROW_HW = (64, 96)
ANCHORS, CLASSES = 192, 3  # 8 x 12 cells with two anchors each


class HandedOn:
    """A session that answers the columns of its rows as scores and deltas."""

    provider = "python"
    outputs = ()
    inputs = (TensorSpec(name="rows", dtype="float32", shape=("batch", ANCHORS, CLASSES + 4)),)

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        rows = feeds["rows"]
        return {"classes": rows[..., :CLASSES], "deltas": rows[..., CLASSES:]}

    def close(self) -> None:
        pass


def raw_graph() -> onnx.ModelProto:
    """The same as a graph."""
    return parse(
        f"""m (float[batch,{ANCHORS},{CLASSES + 4}] rows)
            => (float[batch,{ANCHORS},{CLASSES}] classes, float[batch,{ANCHORS},4] deltas)
        <int64[2] parts = {{{CLASSES}, 4}}> {{ classes, deltas = Split<axis=2>(rows, parts) }}""",
        opset=20,
    )


def suppressed(rows: AnyArray, head: DetectionHead) -> AnyArray:
    """What the graph answers, ``(N, max_detections, 6)``."""
    result = nms_in_graph(raw_graph(), head, row_hw=ROW_HW)
    assert (result.refusal, result.count) == (None, 1)
    onnx.checker.check_model(result.model, full_check=True)
    return run(result.model, rows)[0]


def on_host(rows: AnyArray, head: DetectionHead) -> AnyArray:
    """What the pipeline's decoder and suppression make of the same rows."""
    return SuppressedSession(HandedOn(), head, row_hw=ROW_HW).run({"rows": rows})[OUTPUT]


def made_up(count: int, *, seed: int = 0) -> AnyArray:
    """Rows ``(count, A, C + 4)``: half of the scores pass 0.5, and boxes are moved by about half a side."""
    return np.random.default_rng(seed).normal(0, 0.5, (count, ANCHORS, CLASSES + 4)).astype(np.float32)


def silent(count: int) -> AnyArray:
    """Rows in which nothing reaches a threshold and no box is moved."""
    rows = np.zeros((count, ANCHORS, CLASSES + 4), np.float32)
    rows[..., :CLASSES] = -10
    return rows


def found(lines: AnyArray) -> AnyArray:
    """The lines of one row that are no padding."""
    return lines[lines[:, 4] >= 0]


def assert_same(got: AnyArray, expected: AnyArray) -> None:
    """Line by line: scores and classes as they are, corners to a thousandth of a pixel."""
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got[..., 5], expected[..., 5])
    np.testing.assert_allclose(got[..., 4], expected[..., 4], atol=1e-6)  # one sigmoid in float32
    np.testing.assert_allclose(got[..., :4], expected[..., :4], atol=1e-3)  # sides of up to 300 px in float32


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_rows_is_suppressed_as_on_the_host(count):
    head = detection(max_detections=ANCHORS * CLASSES)
    rows = made_up(count)
    expected = on_host(rows, head)
    assert all(20 < len(found(lines)) < ANCHORS * CLASSES // 2 for lines in expected)
    assert_same(suppressed(rows, head), expected)


def test_the_batch_of_the_graph_stays_free():
    inputs, outputs = inspect_graph(nms_in_graph(raw_graph(), detection(), row_hw=ROW_HW).model)
    assert inputs[0].shape[0] == "batch"
    assert [(spec.name, spec.shape) for spec in outputs] == [(OUTPUT, ("batch", 50, 6))]


def test_the_best_are_kept_in_each_row_where_the_limit_binds():
    head, rows = detection(max_detections=7), made_up(3)
    expected = on_host(rows, head)
    assert (expected[..., 4] > 0.5).all()
    assert_same(suppressed(rows, head), expected)


def test_what_is_left_of_a_row_is_padding():
    rows = np.concatenate((silent(1), made_up(1), silent(1)))
    rows[2, 5, 1] = 3.0
    head = detection(max_detections=ANCHORS * CLASSES)
    lines = suppressed(rows, head)
    counts = [len(found(row)) for row in lines]
    assert (counts[0], counts[2]) == (0, 1)
    for row, count in zip(lines, counts, strict=True):
        assert (row[count:] == -1).all()
    assert_same(lines, on_host(rows, head))


def test_of_overlapping_boxes_of_one_class_and_equal_scores_the_earlier_stays():
    rows = silent(1)
    places = [40, 41]  # one cell, boxes of 24 and 40 pixels; the smaller is moved to the sides of the larger
    rows[0, places, 2] = 1.5
    rows[0, 40, CLASSES + 2 :] = np.log(40 / 24)
    rows[0, 41, CLASSES] = 0.1  # 4 pixels to the right, so that it shows which one stayed
    head = detection()
    expected = found(on_host(rows, head)[0])
    assert len(expected) == 1
    assert_same(found(suppressed(rows, head)[0]), expected)


def test_equal_scores_of_one_class_keep_the_order_of_their_places():
    rows = silent(1)
    rows[0, ::24, 1] = 0.75  # eight boxes, far apart
    head = detection()
    expected = found(on_host(rows, head)[0])
    assert len(np.unique(expected[:, 4])) == 1 < len(expected)
    assert_same(found(suppressed(rows, head)[0]), expected)


def test_boxes_of_different_classes_do_not_suppress_each_other():
    rows = silent(1)
    rows[0, 40, :CLASSES] = (3.0, 2.0, 1.0)
    assert found(suppressed(rows, detection())[0])[:, 5].tolist() == [0, 1, 2]


def test_a_score_at_the_threshold_is_found():
    rows = silent(1)
    rows[0, 40, 0] = 0.0  # its sigmoid is 0.5, as the threshold
    assert found(suppressed(rows, detection(score_threshold=0.5))[0])[:, 4].tolist() == [0.5]


def test_candidates_limit_each_class():
    rows = silent(1)
    rows[0, ::24, 1] = np.linspace(1, 2, 8)
    rows[0, 1::24, 2] = np.linspace(1, 2, 8)
    head = detection(nms=Nms(kind="hard", iou_threshold=0.5, class_agnostic=False, candidates=3))
    kept = found(suppressed(rows, head)[0])
    assert sorted(kept[:, 5].tolist()) == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("background", ["first", "last"])
def test_the_column_of_the_background_is_no_class(activation, background):
    head = detection(class_activation=activation, background=background, score_threshold=0.4, max_detections=100)
    rows = made_up(2)
    expected = on_host(rows, head)
    assert expected[..., 5].max() == CLASSES - 2
    assert_same(suppressed(rows, head), expected)
