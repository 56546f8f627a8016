"""Distribution heads: a column computed by hand, naive loops, round trips, and what a published head makes of maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.decoders.candidates import Candidates
from pipelines.decoders.yolo_dfl import decode
from pipelines.errors import ModelOutputError
from pipelines.specs import YoloDfl
from pipelines.types import AnyArray
from tests.builders import f32
from tests.pipelines.decoders import naive_yolo
from tests.pipelines.decoders.naive_yolo import FIXTURES, QUIET, SURE, logit, require_equal
from tests.reference import sigmoid

STRIDES = (8, 16)
ROW_HW = (32, 48)
CELLS = list(naive_yolo.cells(ROW_HW, STRIDES))
REG_MAX = 8
NUM_CLASSES = 3
FIRST_CLASS = 4 * REG_MAX
FIRST_EXTRA = FIRST_CLASS + NUM_CLASSES


def columns_spec(*, extra: Any = None, multi_label: bool = False, **over: Any) -> YoloDfl:
    layout = {"form": "columns", "output": "raw", "strides": STRIDES, "reg_max": REG_MAX, "activation": "sigmoid"}
    fields = {"kind": "yolo_dfl", "layout": layout | over, "extra": extra, "multi_label": multi_label}
    return YoloDfl.model_validate(fields)


def maps_spec(*, extra: Any = None, multi_label: bool = False, **over: Any) -> YoloDfl:
    layout = {
        "form": "maps",
        "outputs": ("fine", "coarse"),
        "strides": STRIDES,
        "reg_max": REG_MAX,
        "activation": "sigmoid",
    }
    fields = {"kind": "yolo_dfl", "layout": layout | over, "extra": extra, "multi_label": multi_label}
    return YoloDfl.model_validate(fields)


def decoded_spec(*, extra: Any = None, multi_label: bool = False, **over: Any) -> YoloDfl:
    layout = {"form": "decoded", "output": "output0", "box_format": "cxcywh"}
    fields = {"kind": "yolo_dfl", "layout": layout | over, "extra": extra, "multi_label": multi_label}
    return YoloDfl.model_validate(fields)


def quiet_columns(num_extras: int = 0) -> AnyArray:
    """Raw columns ``(4*reg_max + C + E, N)`` without an object."""
    columns = np.zeros((FIRST_EXTRA + num_extras, len(CELLS)), np.float32)
    columns[FIRST_CLASS:FIRST_EXTRA] = QUIET
    return columns


def random_columns(seed: int, num_extras: int = 0) -> AnyArray:
    return f32(np.random.default_rng(seed).normal(0, 1.5, (FIRST_EXTRA + num_extras, len(CELLS))))


def as_maps(columns: AnyArray) -> dict[str, AnyArray]:
    """Cut columns into the map of each stride."""
    fine = (ROW_HW[0] // 8) * (ROW_HW[1] // 8)
    return {
        "fine": columns[:, :fine].reshape(-1, ROW_HW[0] // 8, ROW_HW[1] // 8),
        "coarse": columns[:, fine:].reshape(-1, ROW_HW[0] // 16, ROW_HW[1] // 16),
    }


def run(columns: AnyArray, spec: YoloDfl, *, score_threshold: float = 0.25) -> Candidates:
    return decode({"raw": columns}, spec, row_hw=ROW_HW, score_threshold=score_threshold)


def run_decoded(columns: Any, spec: YoloDfl, *, score_threshold: float = 0.25) -> Candidates:
    """Decode columns given as rows, which read more easily."""
    return decode({"output0": f32(columns).T.copy()}, spec, row_hw=ROW_HW, score_threshold=score_threshold)


def naive(columns: AnyArray, *, threshold: float, multi_label: bool) -> list[Any]:
    return naive_yolo.yolo_dfl(
        columns,
        row_hw=ROW_HW,
        strides=STRIDES,
        reg_max=REG_MAX,
        num_classes=NUM_CLASSES,
        threshold=threshold,
        multi_label=multi_label,
    )


def at_cell(columns: AnyArray, place: int, bins: Sequence[Sequence[float]]) -> None:
    """Put an object of class 1 with these bins (left, top, right, bottom) at a place."""
    columns[:FIRST_CLASS, place] = np.concatenate(bins)
    columns[FIRST_CLASS + 1, place] = SURE


ONE_HOT = [[SURE * 2 if i == k else 0.0 for i in range(REG_MAX)] for k in range(REG_MAX)]
UNIFORM = [0.0] * REG_MAX  # the expected bin is the mean of 0..7: 3.5


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_a_column_computed_by_hand() -> None:
    columns = quiet_columns()
    at_cell(columns, 24 + 3 + 1, (ONE_HOT[1], UNIFORM, ONE_HOT[2], ONE_HOT[0]))  # stride 16: x = 1, y = 1
    found = run(columns, columns_spec())
    # arXiv:2006.04388, equation 5: distances 1, 3.5, 2, 0 cells; from the cell's centre (1.5, 1.5), times 16.
    np.testing.assert_allclose(found.boxes, [[8, -32, 56, 24]], atol=1e-5)  # float32 softmax
    assert found.scores.tolist() == [1.0]
    assert found.class_ids.tolist() == [1]
    assert found.num_classes == 3


@pytest.mark.parametrize("multi_label", [False, True])
def test_maps_decode_as_libreyolo_decodes_them(multi_label: bool) -> None:
    fixture = np.load(FIXTURES / "yolo_dfl" / "libreyolo.npz")
    names = ("raw_8", "raw_16", "raw_32")
    spec = maps_spec(outputs=names, strides=(8, 16, 32), reg_max=16, multi_label=multi_label)
    found = decode(dict(fixture), spec, row_hw=(64, 96), score_threshold=0.5)
    boxes, scores = fixture["decoded"][:4].T, fixture["decoded"][4:].T
    counts = scores >= 0.5
    if not multi_label:
        counts &= np.arange(3) == scores.argmax(axis=1)[:, None]
    places, class_ids = np.nonzero(counts)
    assert len(places) > 80
    require_equal(found, list(zip(boxes[places], scores[places, class_ids], class_ids.tolist(), strict=True)))


def test_columns_decoded_to_corners_by_libreyolo_are_read_as_they_are() -> None:
    decoded = np.load(FIXTURES / "yolo_dfl" / "libreyolo.npz")["decoded"]
    spec = decoded_spec(box_format="xyxy")
    found = decode({"output0": decoded}, spec, row_hw=(64, 96), score_threshold=0.0)
    np.testing.assert_allclose(found.boxes, decoded[:4].T, rtol=1e-6, atol=1e-5)  # through centres and sides
    np.testing.assert_array_equal(found.scores, decoded[4:].max(axis=0))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.booleans(), st.booleans())
def test_decoding_equals_the_naive_loop(seed: int, threshold: float, multi_label: bool, maps: bool) -> None:
    columns = random_columns(seed)
    if maps:
        spec = maps_spec(multi_label=multi_label)
        found = decode(as_maps(columns), spec, row_hw=ROW_HW, score_threshold=threshold)
    else:
        found = run(columns, columns_spec(multi_label=multi_label), score_threshold=threshold)
    require_equal(found, naive(columns, threshold=threshold, multi_label=multi_label))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.5]), st.booleans())
def test_decoded_columns_equal_the_naive_loop(seed: int, threshold: float, multi_label: bool) -> None:
    random = np.random.default_rng(seed)
    rows = f32(np.concatenate((random.uniform(-20, 100, (30, 4)), random.uniform(0, 1, (30, 3))), axis=1))
    found = run_decoded(rows, decoded_spec(multi_label=multi_label), score_threshold=threshold)
    with_objectness = np.insert(rows, 4, 1, axis=1)
    require_equal(found, naive_yolo.scored_rows(with_objectness, threshold=threshold, multi_label=multi_label))


@given(st.integers(0, 10_000))
def test_boxes_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, expected = quiet_columns(), []
    for place in np.sort(random.permutation(len(CELLS))[:8]).tolist():
        stride, x, y = CELLS[place]
        left, top, right, bottom = random.uniform(0, REG_MAX - 1, 4)
        at_cell(columns, place, [naive_yolo.bins_of(d, REG_MAX) for d in (left, top, right, bottom)])
        cx, cy = x + 0.5, y + 0.5
        box = ((cx - left) * stride, (cy - top) * stride, (cx + right) * stride, (cy + bottom) * stride)
        expected.append((box, 1.0, 1))
    require_equal(run(columns, columns_spec()), expected)


def test_classes_that_are_probabilities_already_are_not_squashed_again() -> None:
    columns = quiet_columns()
    columns[FIRST_CLASS:FIRST_EXTRA] = 0
    columns[FIRST_CLASS + 2, 5] = 0.75
    found = run(columns, columns_spec(activation="none"))
    assert found.scores.tolist() == [0.75]


def test_of_equal_classes_the_lower_id_wins() -> None:
    assert run_decoded([[5, 5, 2, 2, 0.2, 0.7, 0.7]], decoded_spec()).class_ids.tolist() == [1]


def test_a_column_whose_best_class_is_at_the_threshold_counts() -> None:
    assert run_decoded([[5, 5, 2, 2, 0.25, 0.0, 0.125]], decoded_spec()).scores.tolist() == [0.25]


def test_every_class_at_the_threshold_counts_where_labels_are_many() -> None:
    rows = [[5, 5, 2, 2, 0.25, 0.2, 0.5], [9, 9, 2, 2, 0.75, 0.1, 0.1]]
    found = run_decoded(rows, decoded_spec(multi_label=True))
    assert sorted(zip(found.class_ids.tolist(), found.scores.tolist(), found.boxes[:, 0].tolist(), strict=True)) == [
        (0, 0.25, 4.0),
        (0, 0.75, 8.0),
        (2, 0.5, 4.0),
    ]


# --- masks, keypoints, boxes that turn -------------------------------------------------------------------------------

MASKS = {"extra": "masks", "num": 4, "prototypes": "output1", "threshold": 0.6}
ANGLE = {"extra": "angle"}


def keypoints(*, scored: bool) -> dict[str, Any]:
    return {"extra": "keypoints", "num": 2, "scored": scored}


@pytest.mark.parametrize("multi_label", [False, True])
def test_mask_coefficients_come_with_their_candidates_and_prototypes(multi_label: bool) -> None:
    prototypes = np.zeros((4, 8, 12), np.float32)
    rows = [[5, 5, 2, 2, 0.5, 0.0, 0.9, 1, 2, 3, 4], [9, 9, 2, 2, 0, 0, 0.3, -1, -2, -3, -4]]
    outputs = {"output0": f32(rows).T.copy(), "output1": prototypes}
    spec = decoded_spec(extra=MASKS, multi_label=multi_label)
    found = decode(outputs, spec, row_hw=ROW_HW, score_threshold=0.25)
    assert found.mask_coefficients is not None
    expected = {4.0: [1, 2, 3, 4], 8.0: [-1, -2, -3, -4]}
    assert len(found) == 3 if multi_label else 2
    assert found.mask_coefficients.tolist() == [expected[left] for left in found.boxes[:, 0].tolist()]
    assert found.prototypes is prototypes
    assert found.mask_threshold == 0.6


def test_raw_mask_coefficients_are_taken_as_they_are() -> None:
    columns = random_columns(3, num_extras=4)
    outputs = as_maps(columns) | {"output1": np.zeros((4, 8, 12), np.float32)}
    found = decode(outputs, maps_spec(extra=MASKS), row_hw=ROW_HW, score_threshold=0.0)
    assert found.mask_coefficients is not None
    np.testing.assert_array_equal(found.mask_coefficients, columns[FIRST_EXTRA:].T)


@given(st.integers(0, 10_000), st.booleans())
def test_raw_keypoints_equal_the_naive_loop(seed: int, scored: bool) -> None:
    columns = random_columns(seed, num_extras=6 if scored else 4)
    found = run(columns, columns_spec(extra=keypoints(scored=scored)), score_threshold=0.0)
    assert found.keypoints is not None
    require_equal(found, naive(columns, threshold=0.0, multi_label=False))
    for points, (stride, x, y), column in zip(found.keypoints, CELLS, columns[FIRST_EXTRA:].T.tolist(), strict=True):
        for point, values in zip(points.tolist(), np.reshape(column, (2, -1)).tolist(), strict=True):
            score = sigmoid(values[2]) if scored else 1
            expected = [(x + 2 * values[0]) * stride, (y + 2 * values[1]) * stride, score]
            assert point == pytest.approx(expected, rel=1e-5, abs=1e-4)  # float32


@pytest.mark.parametrize("scored", [True, False])
def test_decoded_keypoints_are_read_as_they_are(scored: bool) -> None:
    points = [[1, 2, 0.5], [3, 4, 0.75]] if scored else [[1, 2], [3, 4]]
    rows = [[5, 5, 2, 2, 0, 0.9, 0, *np.ravel(points)], [5, 5, 2, 2, 0, 0, 0, *np.zeros_like(np.ravel(points))]]
    found = run_decoded(rows, decoded_spec(extra=keypoints(scored=scored)))
    assert found.keypoints is not None
    assert found.keypoints.tolist() == [points if scored else [[1, 2, 1], [3, 4, 1]]]


def test_keypoints_come_with_every_class_of_their_place() -> None:
    rows = [[5, 5, 2, 2, 0.5, 0, 0.75, 1, 2, 3, 4], [9, 9, 2, 2, 0, 0, 0.25, 5, 6, 7, 8]]
    found = run_decoded(rows, decoded_spec(extra=keypoints(scored=False), multi_label=True))
    assert found.keypoints is not None
    expected = {4.0: [[1, 2, 1], [3, 4, 1]], 8.0: [[5, 6, 1], [7, 8, 1]]}
    assert found.keypoints.tolist() == [expected[left] for left in found.boxes[:, 0].tolist()]
    assert len(found) == 3


@given(st.integers(0, 10_000))
def test_keypoints_survive_encoding_and_decoding(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns, place = quiet_columns(num_extras=6), int(random.integers(len(CELLS)))
    stride, x, y = CELLS[place]
    points, scores = random.uniform(-10, 60, (2, 2)), random.uniform(0.1, 0.9, 2)
    at_cell(columns, place, (UNIFORM,) * 4)
    for k, ((px, py), score) in enumerate(zip(points.tolist(), scores.tolist(), strict=True)):
        columns[FIRST_EXTRA + 3 * k :, place][:3] = [(px / stride - x) / 2, (py / stride - y) / 2, logit(score)]
    found = run(columns, columns_spec(extra=keypoints(scored=True)))
    assert found.keypoints is not None
    expected = np.concatenate((points, scores[:, None]), axis=1)
    np.testing.assert_allclose(found.keypoints[0], expected, rtol=1e-5, atol=1e-4)  # float32 logits


def test_turned_boxes_have_the_corners_and_bounds_of_libreyolo() -> None:
    fixture = np.load(FIXTURES / "yolo_dfl" / "libreyolo.npz")
    xywhr = fixture["xywhr"]
    rows = np.concatenate((xywhr[:, :4], np.full((len(xywhr), 1), 0.5), xywhr[:, 4:]), axis=1)
    found = run_decoded(rows, decoded_spec(extra=ANGLE))
    assert found.polygons is not None
    np.testing.assert_allclose(np.stack(found.polygons), fixture["corners"], atol=1e-4)  # float32 sines there
    np.testing.assert_allclose(found.boxes, fixture["bounds"], atol=1e-4)
    np.testing.assert_array_equal(found.angles, f32(xywhr[:, 4]))


@given(st.integers(0, 10_000), st.booleans())
def test_raw_turned_boxes_equal_the_naive_loop(seed: int, multi_label: bool) -> None:
    columns = random_columns(seed, num_extras=1)
    found = run(columns, columns_spec(extra=ANGLE, multi_label=multi_label), score_threshold=0.0)
    assert found.polygons is not None
    corners, angles = [], []
    for (stride, x, y), column in zip(CELLS, columns.T.tolist(), strict=True):
        angle = (sigmoid(column[-1]) - 0.25) * math.pi
        angles.append(angle)
        box = naive_yolo.dfl_column(column, reg_max=REG_MAX, cell=(x, y), stride=stride, angle=angle)
        corners.append(naive_yolo.rotated_corners(*box, angle))
    polygons = np.stack(found.polygons)
    assert found.angles is not None
    if not multi_label:
        np.testing.assert_allclose(found.angles, angles, atol=1e-6)  # float32 logits
    if multi_label:  # class by class within a stride: each place three times
        fine = 3 * sum(stride == 8 for stride, _, _ in CELLS)
        parts = [part.reshape(3, -1, 4, 2) for part in (polygons[:fine], polygons[fine:])]
        assert all((part == part[:1]).all() for part in parts)
        polygons = np.concatenate([part[0] for part in parts])
    np.testing.assert_allclose(polygons, corners, rtol=1e-5, atol=1e-3)  # float32 logits, in pixels
    np.testing.assert_array_equal(found.boxes[:, :2], np.stack(found.polygons).min(axis=1))
    np.testing.assert_array_equal(found.boxes[:, 2:], np.stack(found.polygons).max(axis=1))


def test_a_box_turned_by_a_right_angle_starts_at_its_top_right() -> None:
    found = run_decoded([[10, 20, 8, 4, 0.9, math.pi / 2]], decoded_spec(extra=ANGLE))
    assert found.polygons is not None
    np.testing.assert_allclose(found.polygons[0], [[12, 16], [12, 24], [8, 24], [8, 16]], atol=1e-5)  # float32 pi
    np.testing.assert_allclose(found.boxes, [[8, 16, 12, 24]], atol=1e-5)


# --- nothing found, bad outputs, bad specs ---------------------------------------------------------------------------


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("decoded", [False, True], ids=["raw", "decoded"])
@pytest.mark.parametrize(
    ("extra", "num_extras"),
    [
        pytest.param(None, 0, id="plain"),
        pytest.param(MASKS, 4, id="masks"),
        pytest.param(keypoints(scored=True), 6, id="keypoints"),
        pytest.param(ANGLE, 1, id="angle"),
    ],
)
def test_a_quiet_head_gives_empty_arrays_of_the_right_shape(
    extra: Any, num_extras: int, decoded: bool, multi_label: bool
) -> None:
    outputs = {
        "raw": quiet_columns(num_extras),
        "output0": np.zeros((4 + 3 + num_extras, 50), np.float32),
        "output1": np.zeros((4, 8, 12), np.float32),
    }
    spec = (decoded_spec if decoded else columns_spec)(extra=extra, multi_label=multi_label)
    found = decode(outputs, spec, row_hw=ROW_HW, score_threshold=0.25)
    assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
    assert (found.scores.shape, found.scores.dtype) == ((0,), np.float32)
    assert (found.class_ids.shape, found.class_ids.dtype) == ((0,), np.int64)
    assert found.num_classes == 3
    assert (found.keypoints is None) == (extra != keypoints(scored=True))
    assert found.keypoints is None or found.keypoints.shape == (0, 2, 3)
    assert found.polygons == (() if extra == ANGLE else None)
    assert (found.mask_coefficients is None) == (extra != MASKS)
    assert found.mask_coefficients is None or found.mask_coefficients.shape == (0, 4)


def test_an_output_that_is_not_finite_is_refused() -> None:
    columns = quiet_columns()
    columns[0, 0] = np.nan
    with pytest.raises(ModelOutputError, match="'raw' must be finite, got 1 NaN"):
        run(columns, columns_spec())


def test_a_box_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="boxes from output 'output0' must be finite"):
        run_decoded([[3e38, 0, 3e38, 1, 0.9]], decoded_spec())


def test_a_turned_box_beyond_float32_is_refused() -> None:
    with pytest.raises(ModelOutputError, match="boxes from output 'output0' must be finite"):
        run_decoded([[3.3e38, 0, 4e37, 4e37, 0.9, math.pi / 4]], decoded_spec(extra=ANGLE))


def test_a_keypoint_beyond_float32_is_refused() -> None:
    columns = quiet_columns(num_extras=4)
    at_cell(columns, 0, (UNIFORM,) * 4)
    columns[FIRST_EXTRA, 0] = 3e38
    with pytest.raises(ModelOutputError, match="keypoints from output 'raw' must be finite"):
        run(columns, columns_spec(extra=keypoints(scored=False)))


def test_class_logits_where_probabilities_are_promised_are_refused() -> None:
    with pytest.raises(ModelOutputError, match="'output0' must hold probabilities from 0 to 1, got -7 to -6"):
        run_decoded([[5, 5, 2, 2, -7, -8], [5, 5, 2, 2, -9, -6]], decoded_spec())


def test_keypoint_scores_that_are_logits_are_refused() -> None:
    row = [5, 5, 2, 2, 0.9, 1, 1, 4, 1, 1, 4]
    with pytest.raises(ModelOutputError, match="'output0' must hold probabilities from 0 to 1, got 4 to 4"):
        run_decoded([row], decoded_spec(extra=keypoints(scored=True)))


def test_too_few_channels_for_a_class_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"'output0' must have 4 \+ classes \+ 6 channels, got 10"):
        run_decoded(np.zeros((5, 10)), decoded_spec(extra=keypoints(scored=True)))
    with pytest.raises(ModelOutputError, match=r"'raw' must have 32 \+ classes \+ 0 channels, got 32"):
        run(np.zeros((32, len(CELLS)), np.float32), columns_spec())


def test_columns_of_other_strides_are_refused() -> None:
    with pytest.raises(ModelOutputError, match=r"'raw' must have shape \(any, 25\) a row, got \(35, 30\)"):
        run(quiet_columns(), columns_spec(strides=(8, 32)))


def test_maps_of_another_stride_are_refused() -> None:
    with pytest.raises(ModelOutputError, match="must cover a row of 32 x 48 at stride 32, got 2 x 3 cells"):
        decode(as_maps(quiet_columns()), maps_spec(strides=(8, 32)), row_hw=ROW_HW, score_threshold=0.5)


def test_maps_with_different_classes_are_refused() -> None:
    maps = as_maps(quiet_columns())
    maps["coarse"] = maps["coarse"][:-1]
    with pytest.raises(ModelOutputError, match=r"as many classes, got \[2, 3\]"):
        decode(maps, maps_spec(), row_hw=ROW_HW, score_threshold=0.5)


def test_prototypes_of_another_number_are_refused() -> None:
    outputs = {"raw": quiet_columns(4), "output1": np.zeros((3, 8, 12), np.float32)}
    with pytest.raises(ModelOutputError, match=r"'output1' must have shape \(4, any, any\) a row, got \(3, 8, 12\)"):
        decode(outputs, columns_spec(extra=MASKS), row_hw=ROW_HW, score_threshold=0.5)


def test_a_spec_whose_scales_do_not_match_is_refused() -> None:
    with pytest.raises(ValidationError, match="outputs and strides must be equally many, got 2, 1"):
        maps_spec(strides=(8,))


def test_a_spec_names_the_outputs_that_it_reads() -> None:
    assert columns_spec().output_names == ("raw",)
    assert maps_spec().output_names == ("fine", "coarse")
    assert decoded_spec(extra=MASKS).output_names == ("output0", "output1")
