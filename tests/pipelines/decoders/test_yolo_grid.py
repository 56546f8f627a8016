"""Anchor grids: cells computed by hand at 608 pixels, a published decoder, the naive loop, and a round trip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.yolo_grid import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import YoloGrid
from pipelines.types import AnyArray
from tests import reference
from tests.builders import f32, yolo_grid

# YOLOv2's own anchors for COCO, in cells of 32 pixels.
CELL_ANCHORS = ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828))
PIXEL_ANCHORS = tuple((width * 32, height * 32) for width, height in CELL_ANCHORS)
YOLOV3_ANCHORS = {  # in pixels
    "yolo_32": ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
    "yolo_16": ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    "yolo_8": ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
}
FIXTURES = Path(__file__).parents[2] / "fixtures" / "decoders"
QUIET = -20.0  # an objectness logit of no object


def coco_grid(cells: dict[tuple[int, int, int], dict[int, float]]) -> AnyArray:
    """A quiet ``(19, 19, 5, 85)`` grid with the attributes of ``cells`` (y, x, anchor) set."""
    grid = np.zeros((19, 19, 5, 85), np.float32)
    grid[..., 4] = QUIET
    for place, attributes in cells.items():
        for attribute, value in attributes.items():
            grid[(*place, attribute)] = value
    return grid


def stored(grid: AnyArray, spec: YoloGrid) -> AnyArray:
    """Lay a ``(h, w, A, 5 + C)`` grid out as the graph stores it."""
    flat = grid.reshape(*grid.shape[:2], -1)
    return flat if spec.channel_order == "hwc" else np.moveaxis(flat, -1, 0)


def v2(**over: Any) -> YoloGrid:
    fields = {"anchor_unit": "cell", "class_activation": "softmax", "channel_order": "hwc"}
    return yolo_grid(**({"strides": (32,), "anchors": (CELL_ANCHORS,)} | fields | over))


def v3(**over: Any) -> YoloGrid:
    fields = {"anchor_unit": "pixel", "class_activation": "sigmoid", "channel_order": "chw"}
    return yolo_grid(**({"strides": (32,), "anchors": (PIXEL_ANCHORS,)} | fields | over))


def run(grid: AnyArray, spec: YoloGrid, *, score_threshold: float = 0.5) -> Candidates:
    height, width = grid.shape[0] * spec.strides[0], grid.shape[1] * spec.strides[0]
    return decode({"grid": stored(grid, spec)}, spec, row_hw=(height, width), score_threshold=score_threshold)


TWO_CELLS = {
    (3, 7, 1): {0: 0.0, 1: np.log(3), 2: np.log(2), 3: 0.0, 4: np.log(9), 5 + 16: 10.0},
    (18, 0, 4): {0: -np.log(3), 1: 0.0, 2: 0.0, 3: -np.log(2), 4: 20.0, 5 + 2: 20.0},
}
# Cell x = 7, y = 3, anchor 1: centre ((7 + 0.5) * 32, (3 + 0.75) * 32) = (240, 120),
#   sides 1.87446 * 32 * 2 = 119.96544 and 2.06253 * 32 = 66.00096.
# Cell x = 0, y = 18, anchor 4: centre ((0 + 0.25) * 32, (18 + 0.5) * 32) = (8, 592),
#   sides 9.77052 * 32 = 312.65664 and 9.16828 * 32 / 2 = 146.69248.
TWO_BOXES = [
    [240 - 59.98272, 120 - 33.00048, 240 + 59.98272, 120 + 33.00048],
    [8 - 156.32832, 592 - 73.34624, 8 + 156.32832, 592 + 73.34624],
]


def test_two_cells_at_608_pixels_in_the_convention_of_yolov2() -> None:
    found = run(coco_grid(TWO_CELLS), v2())
    np.testing.assert_allclose(found.boxes, TWO_BOXES, rtol=1e-6)  # float32 logits
    # objectness 0.9 and 1; softmax of one logit of 10 (20) among 79 zeros
    expected = [0.9 * np.exp(10) / (np.exp(10) + 79), np.exp(20) / (np.exp(20) + 79)]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-6)
    assert found.class_ids.tolist() == [16, 2]
    assert found.num_classes == 80


def test_two_cells_at_608_pixels_in_the_convention_of_yolov3() -> None:
    found = run(coco_grid(TWO_CELLS), v3())
    np.testing.assert_allclose(found.boxes, TWO_BOXES, rtol=1e-6)  # float32 logits
    np.testing.assert_allclose(found.scores, [0.9 / (1 + np.exp(-10)), 1 / (1 + np.exp(-20))], rtol=1e-6)
    assert found.class_ids.tolist() == [16, 2]


def test_four_axes_are_read_like_three() -> None:
    grid = coco_grid(TWO_CELLS)
    found = decode({"grid": grid}, v2(), row_hw=(608, 608), score_threshold=0.5)
    np.testing.assert_array_equal(found.boxes, run(grid, v2()).boxes)


@pytest.mark.parametrize("kind", ["region", "yolo"])
def test_maps_decode_as_libreyolo_decodes_them(kind: str) -> None:
    fixture = np.load(FIXTURES / "yolo_grid" / "libreyolo.npz")
    if kind == "region":
        spec = v2(outputs=("region_32",), anchors=(CELL_ANCHORS[:3],), channel_order="chw")
    else:
        spec = v3(outputs=tuple(YOLOV3_ANCHORS), strides=(32, 16, 8), anchors=tuple(YOLOV3_ANCHORS.values()))
    found = decode(dict(fixture), spec, row_hw=(96, 96), score_threshold=0.3)
    cx, cy, width, height = np.concatenate([fixture[f"{name}_boxes_cxcywh"] for name in spec.outputs]).T
    scores = np.concatenate([fixture[f"{name}_scores"] for name in spec.outputs])
    boxes = np.stack((cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2), axis=1)
    best = scores.max(axis=1) >= 0.3
    theirs, ours = np.lexsort(boxes[best].T), np.lexsort(found.boxes.T)  # they go through the anchors first
    assert best.sum() >= 5
    np.testing.assert_allclose(found.boxes[ours], boxes[best][theirs], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.scores[ours], scores[best].max(axis=1)[theirs], rtol=1e-5)
    np.testing.assert_array_equal(found.class_ids[ours], scores[best].argmax(axis=1)[theirs])


def encode(boxes: AnyArray, class_ids: Sequence[int], spec: YoloGrid, *, grid_hw: tuple[int, int]) -> AnyArray:
    """The inverse of the decoder: put each box into its own cell, at the anchor whose turn it is."""
    stride, anchors = spec.strides[0], spec.anchors[0]
    grid = np.zeros((*grid_hw, len(anchors), 5 + 4), np.float64)
    grid[..., 4] = QUIET
    for i, ((x1, y1, x2, y2), class_id) in enumerate(zip(boxes, class_ids, strict=True)):
        cx, cy, anchor = (x1 + x2) / 2 / stride, (y1 + y2) / 2 / stride, i % len(anchors)
        inside_x, inside_y = cx - int(cx), cy - int(cy)
        cell = grid[int(cy), int(cx), anchor]
        cell[:5] = [
            np.log(inside_x / (1 - inside_x)),
            np.log(inside_y / (1 - inside_y)),
            np.log((x2 - x1) / anchors[anchor][0]),
            np.log((y2 - y1) / anchors[anchor][1]),
            20,
        ]
        cell[5 + class_id] = 20
    return f32(grid)


@given(st.integers(0, 10_000))
def test_boxes_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    grid_hw, spec = (6, 8), yolo_grid(strides=(16,))
    places = random.permutation(48)[:10]  # cells, all different
    cells = np.stack((places % 8, places // 8), axis=1)
    centers = (cells + random.uniform(0.05, 0.95, (10, 2))) * 16
    sides = random.uniform(4, 60, (10, 2))
    boxes = np.concatenate((centers - sides / 2, centers + sides / 2), axis=1)
    class_ids = random.integers(0, 4, 10)
    found = run(encode(boxes, class_ids.tolist(), spec, grid_hw=grid_hw), spec)
    order = np.argsort(places)  # candidates come cell by cell
    np.testing.assert_allclose(found.boxes, boxes[order], atol=1e-3)  # float32 logits, coordinates up to 200
    assert found.class_ids.tolist() == class_ids[order].tolist()


@given(
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.sampled_from(["cell", "pixel"]),
    st.sampled_from(["chw", "hwc"]),
    st.sampled_from(["softmax", "sigmoid"]),
)
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, unit: str, order: str, activation: str) -> None:
    random = np.random.default_rng(seed)
    spec = yolo_grid(
        outputs=("coarse", "fine"),
        strides=(16, 8),
        anchors=(((3, 4), (5.5, 2)), ((1, 1.5), (2, 2))),
        anchor_unit=unit,
        channel_order=order,
        class_activation=activation,
    )
    grids = [f32(random.normal(0, 1, (*hw, 2, 5 + 3))) for hw in ((2, 3), (4, 6))]
    outputs = {name: stored(grid, spec) for name, grid in zip(spec.outputs, grids, strict=True)}
    found = decode(outputs, spec, row_hw=(32, 48), score_threshold=threshold)
    expected = reference.yolo_grid(grids, spec, score_threshold=threshold)
    np.testing.assert_allclose(found.scores, [score for _, score, _ in expected], rtol=1e-5)  # float32 activations
    np.testing.assert_allclose(found.boxes, f32([box for box, _, _ in expected]).reshape(-1, 4), rtol=1e-5, atol=1e-4)
    assert found.class_ids.tolist() == [class_id for _, _, class_id in expected]


def test_an_anchor_at_the_threshold_counts() -> None:
    grid = coco_grid({(0, 0, 0): {4: 0.75, 5: 50.0}})  # a class logit of 50 is a probability of 1 in float32
    grid[..., 4] = np.maximum(grid[..., 4], 0)
    assert len(run(grid, v3(objectness="none"), score_threshold=0.75)) == 1
    assert len(run(grid, v3(objectness="none"), score_threshold=0.7500001)) == 0


def test_objectness_that_is_a_probability_already_is_not_squashed_again() -> None:
    grid = coco_grid({(0, 0, 0): {4: 0.75, 5: 50.0}})
    grid[..., 4] = np.maximum(grid[..., 4], 0)
    found = run(grid, v3(objectness="none"))
    assert found.scores.tolist() == [0.75]


def test_objectness_that_should_be_a_probability_and_is_not_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="probabilities from 0 to 1, got -20 to"):
        run(coco_grid({}), v3(objectness="none"))


def test_of_equal_classes_the_lower_id_wins() -> None:
    found = run(coco_grid({(0, 0, 0): {4: 20.0, 5 + 7: 20.0, 5 + 3: 20.0}}), v3())
    assert found.class_ids.tolist() == [3]


def test_an_anchor_gives_one_candidate_of_its_best_class() -> None:
    found = run(coco_grid({(0, 0, 0): {4: 20.0, 5 + 7: 20.0, 5 + 3: 10.0}}), v3())
    assert found.class_ids.tolist() == [7]


def test_a_quiet_grid_gives_empty_arrays_of_the_right_shape() -> None:
    found = run(coco_grid({}), v2())
    assert found.boxes.shape == (0, 4)
    assert found.scores.dtype == np.float32
    assert found.num_classes == 80


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_an_output_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ModelOutputError, match="'grid' must be finite, got 1 NaN"):
        run(coco_grid({(5, 5, 0): {4: bad}}), v3())


def test_a_box_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="boxes from output 'grid' must be finite"):
        run(coco_grid({(5, 5, 0): {2: 800.0, 4: 20.0, 5: 20.0}}), v3())


@pytest.mark.parametrize("channels", [424, 25])
def test_channels_that_are_not_whole_anchors_are_refused(channels: int) -> None:
    outputs = {"grid": np.zeros((channels, 19, 19), np.float32)}
    with pytest.raises(ModelOutputError, match=rf"\(5 \+ classes\) channels for each of 5 anchors, got {channels}"):
        decode(outputs, v3(), row_hw=(608, 608), score_threshold=0.5)


def test_a_grid_of_another_stride_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="must cover a row of 608 x 608 at stride 16, got 19 x 19 cells"):
        decode({"grid": stored(coco_grid({}), v3())}, v3(strides=(16,)), row_hw=(608, 608), score_threshold=0.5)


def test_scales_with_different_classes_are_refused() -> None:
    spec = v3(outputs=("a", "b"), strides=(32, 32), anchors=(((1.0, 1.0),), ((1.0, 1.0),)))
    outputs = {"a": np.zeros((6, 2, 2), np.float32), "b": np.zeros((7, 2, 2), np.float32)}
    with pytest.raises(ModelOutputError, match=r"as many classes, got \[1, 2\]"):
        decode(outputs, spec, row_hw=(64, 64), score_threshold=0.5)
