"""Detection: threshold, suppression, the way back to the original image, and the options of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.errors import InvalidRequestError, ModelOutputError
from pipelines.geometry import Affine, place
from pipelines.options import PredictOptions
from pipelines.specs import DflDecoded, MaskNms, SoftGaussianNms, SoftLinearNms, Stretch, YoloDfl
from pipelines.tasks.detect import DetectionPipeline
from pipelines.types import AnyArray, Detections
from tests import reference
from tests.builders import center_heatmap, detection_head, f32, letterbox, manifest, nms, probability_map

# An original of 200 x 100 (height x width) becomes 64 x 32 in a row of 64 x 128: scale 0.32, 48 columns of padding on
# the left.
FIT = letterbox(size_hw=(64, 128))
AFFINE = place(FIT, (200, 100))
LINEAR = center_heatmap(size_encoding="linear", center_shift=0.0, axis_order="xy", landmarks=None)
Cell = tuple[int, int, float, float]
"""A cell's x and y, its score, and the side of its square box in row pixels."""


def maps(
    cells: Sequence[Cell], *, classes: Sequence[int] | None = None, landmark: float | None = None
) -> dict[str, AnyArray]:
    """Outputs of a centre heatmap at stride 4 over a row of 64 x 128."""
    class_ids = classes or [0] * len(cells)
    outputs: dict[str, AnyArray] = {
        "heatmap": np.zeros((max(class_ids, default=0) + 1, 16, 32), np.float32),
        "size": np.full((2, 16, 32), 2, np.float32),
        "offset": np.zeros((2, 16, 32), np.float32),
    }
    for (x, y, score, side), class_id in zip(cells, class_ids, strict=True):
        outputs["heatmap"][class_id, y, x] = score
        outputs["size"][:, y, x] = side / 4
    if landmark is not None:
        outputs["landmarks"] = np.full((2, 16, 32), landmark, np.float32)
    return outputs


def run(outputs: dict[str, AnyArray], *, options: PredictOptions | None = None, **over: Any) -> Detections:
    labels = over.pop("labels", ())
    head = detection_head(**({"decoder": LINEAR} | over))
    pipeline = DetectionPipeline(manifest(head=head, labels=labels))
    return pipeline.postprocess(outputs, AFFINE, options or PredictOptions())


APART: list[Cell] = [(14, 2, 0.6, 8), (18, 8, 0.9, 8), (15, 13, 0.7, 8)]
TOGETHER: list[Cell] = [(15, 8, 0.6, 16), (16, 8, 0.9, 16)]  # 4 px apart, 16 px wide: IoU 12 / 20 = 0.6


def test_boxes_come_back_in_pixels_of_the_original() -> None:
    # centre (64, 32) in the row, side 8: ((64 - 48) / 0.32, 32 / 0.32) = (50, 100), side 25
    np.testing.assert_allclose(run(maps([(16, 8, 0.9, 8)])).boxes, [[37.5, 87.5, 62.5, 112.5]], rtol=1e-6)


def test_detections_come_best_first() -> None:
    np.testing.assert_array_equal(run(maps(APART)).scores, f32([0.9, 0.7, 0.6]))


def test_of_equal_scores_the_first_candidate_comes_first() -> None:
    found = run(maps([(18, 8, 0.75, 8), (14, 2, 0.75, 8)]))
    assert found.boxes[0, 1] < found.boxes[1, 1]  # cells are listed from the top


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 2), (0.59, 2), (0.61, 1)])
def test_a_request_may_move_the_score_threshold(threshold: float, count: int) -> None:
    found = run(maps(APART[:2]), score_threshold=0.1, options=PredictOptions(score_threshold=threshold))
    assert len(found) == count


def test_a_request_may_set_the_score_threshold_to_zero() -> None:
    assert len(run(maps(APART), nms=None, max_detections=9999, options=PredictOptions(score_threshold=0.0))) > 3


@pytest.mark.parametrize(("threshold", "count"), [(0.5, 1), (0.65, 2)])
def test_a_request_may_move_the_iou_threshold(threshold: float, count: int) -> None:
    assert len(run(maps(TOGETHER), options=PredictOptions(iou_threshold=threshold))) == count


def test_without_nms_all_candidates_stay() -> None:
    assert len(run(maps(TOGETHER), nms=None)) == 2


def test_an_iou_threshold_is_refused_without_nms() -> None:
    with pytest.raises(InvalidRequestError, match="iou_threshold does not apply to tiny: its head has no nms"):
        run(maps(TOGETHER), nms=None, options=PredictOptions(iou_threshold=0.5))


def test_an_iou_threshold_is_refused_where_the_suppression_has_none() -> None:
    soft = SoftGaussianNms(kind="soft_gaussian", sigma=0.5, class_agnostic=False, candidates=100)
    with pytest.raises(InvalidRequestError, match="does not apply to tiny: its head has nms soft_gaussian"):
        run(maps(TOGETHER), nms=soft, options=PredictOptions(iou_threshold=0.5))


def test_soft_suppression_changes_scores_and_their_order() -> None:
    # Linear decay by an IoU of 0.6: 0.6 becomes 0.24, below the box elsewhere.
    soft = SoftLinearNms(kind="soft_linear", iou_threshold=0.5, class_agnostic=False, candidates=100)
    found = run(maps([*TOGETHER, (18, 2, 0.3, 8)]), nms=soft, score_threshold=0.2)
    np.testing.assert_allclose(found.scores, [0.9, 0.3, 0.24], rtol=1e-6)  # float32 has 24 bits
    np.testing.assert_array_equal(found.boxes[1, 1], f32(4 / 0.32))


@pytest.mark.parametrize(("score_threshold", "count"), [(0.23, 2), (0.25, 1)])
def test_the_score_threshold_acts_after_soft_suppression_too(score_threshold: float, count: int) -> None:
    soft = SoftLinearNms(kind="soft_linear", iou_threshold=0.5, class_agnostic=False, candidates=100)
    found = run(maps(TOGETHER), nms=soft, options=PredictOptions(score_threshold=score_threshold))
    assert len(found) == count


@pytest.mark.parametrize(("asked", "count"), [(None, 1), (0.65, 2)])
def test_a_request_may_move_the_iou_threshold_of_soft_suppression(asked: float | None, count: int) -> None:
    soft = SoftLinearNms(kind="soft_linear", iou_threshold=0.5, class_agnostic=False, candidates=100)
    assert len(run(maps(TOGETHER), nms=soft, options=PredictOptions(iou_threshold=asked))) == count


@pytest.mark.parametrize(("class_agnostic", "count"), [(False, 2), (True, 1)])
def test_classes_suppress_each_other_only_when_the_head_says_so(class_agnostic: bool, count: int) -> None:
    outputs = maps(TOGETHER, classes=[0, 1])
    assert len(run(outputs, nms=nms(class_agnostic=class_agnostic))) == count


def test_only_the_best_candidates_enter_the_suppression() -> None:
    assert len(run(maps(APART), nms=nms(candidates=2))) == 2


@pytest.mark.parametrize(("asked", "count"), [(None, 2), (1, 1), (3, 3)])
def test_no_more_than_max_detections_are_answered(asked: int | None, count: int) -> None:
    found = run(maps(APART), max_detections=2, options=PredictOptions(max_detections=asked))
    assert len(found) == count
    assert found.scores[0] == np.float32(0.9)


def test_boxes_are_clipped_to_the_original() -> None:
    found = run(maps([(12, 8, 0.9, 32)]))  # centre on the left edge of the image, side 100 px of the original
    assert found.boxes.tolist() == [[0, 50, 50, 150]]


def test_boxes_in_the_padding_are_dropped_before_they_are_counted() -> None:
    found = run(maps([(4, 8, 0.95, 8), *APART]), max_detections=3)
    np.testing.assert_array_equal(found.scores, f32([0.9, 0.7, 0.6]))


def test_keypoints_come_back_unclipped_with_score_one() -> None:
    # corner (60, 28) of a box of side 8, 6 times the side away: (108, 76) in the row, ((108 - 48) / 0.32, 76 / 0.32)
    decoder = center_heatmap(size_encoding="linear", center_shift=0.0, axis_order="xy")
    found = run(maps([(16, 8, 0.9, 8)], landmark=6), decoder=decoder)
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints, [[[187.5, 237.5, 1]]], rtol=1e-6)


def test_the_skeleton_of_the_head_comes_with_its_keypoints() -> None:
    decoder = dfl({"extra": "keypoints", "num": 2, "scored": False})
    found = run(columns((64, 32, 8, 8, 0.9, 1, 2, 3, 4)), decoder=decoder, skeleton=((1, 0),))
    assert found.skeleton == ((1, 0),)


def test_a_skeleton_of_other_keypoints_is_refused() -> None:
    decoder = center_heatmap(size_encoding="linear", center_shift=0.0, axis_order="xy")
    with pytest.raises(ModelOutputError, match="the skeleton joins keypoint 1, the model has 1"):
        run(maps([], landmark=6), decoder=decoder, skeleton=((0, 1),))


def test_polygons_come_back_unclipped_while_their_boxes_are_clipped() -> None:
    probabilities = np.zeros((1, 64, 128), np.float32)
    probabilities[0, 0:21, 60:71] = 0.75  # pixel centres 60..70, 0..20: d = 10 * 20 * 1.5 / 60 = 5
    decoder = probability_map(dilate=False, unclip_ratio=1.5)
    found = run({"probabilities": probabilities}, decoder=decoder, nms=None)
    assert found.polygons is not None
    # x 55..75 and y -5..25 in the row
    left, top, right, bottom = 7 / 0.32, -5 / 0.32, 27 / 0.32, 25 / 0.32
    np.testing.assert_allclose(
        found.polygons[0], [[left, top], [right, top], [right, bottom], [left, bottom]], rtol=1e-6
    )
    np.testing.assert_allclose(found.boxes, [[left, 0, right, bottom]], rtol=1e-6)


def test_suppression_happens_on_the_row_where_the_model_sees() -> None:
    outputs = {
        "heatmap": np.random.default_rng(0).uniform(0, 1, (2, 16, 32)).astype(np.float32),
        "size": np.random.default_rng(1).uniform(1, 6, (2, 16, 32)).astype(np.float32),
        "offset": np.zeros((2, 16, 32), np.float32),
    }
    found, _ = reference.center_heatmap(outputs, LINEAR, row_hw=(64, 128), score_threshold=0.5)
    boxes, scores, class_ids = (np.array(column) for column in zip(*found, strict=True))
    kept = reference.nms(boxes, scores, class_ids, iou_threshold=0.3)
    visible = [i for i in kept if boxes[i, 2] > 48 and boxes[i, 0] < 80]  # columns of the row that show the image
    answered = run(outputs, max_detections=1000)
    np.testing.assert_array_equal(answered.class_ids, class_ids[visible])
    np.testing.assert_array_equal(answered.scores, scores[visible].astype(np.float32))


def dfl(extra: dict[str, Any]) -> YoloDfl:
    layout = DflDecoded(form="decoded", output="found", box_format="cxcywh")
    return YoloDfl(kind="yolo_dfl", layout=layout, extra=extra, multi_label=False)


def columns(*rows: Sequence[float]) -> dict[str, AnyArray]:
    """Columns that the graph has decoded: centre x and y, width, height, score, extra."""
    return {"found": f32(rows).T.copy()}


MASKS = {"extra": "masks", "num": 2, "prototypes": "prototypes", "threshold": 0.5}


def test_masks_lie_in_the_original_under_their_boxes() -> None:
    # Of a row of 64 x 128, columns 48..80 show the image. The left prototype ends in its middle, at x = 64.
    prototypes = np.full((2, 16, 32), -1, np.float32)
    prototypes[0, :, :16] = 1
    prototypes[1] = 1
    outputs = columns((64, 32, 16, 16, 0.9, 9, 0), (64, 16, 8, 8, 0.8, 0, 9)) | {"prototypes": prototypes}
    found = run(outputs, decoder=dfl(MASKS))
    expected = np.zeros((2, 200, 100), bool)
    expected[0, 75:125, 25:50] = True  # 56..64 of 24..40 in the row, over 0.32
    expected[1, 37:63, 37:63] = True  # whole pixels of 37.5..62.5
    assert found.masks is not None
    np.testing.assert_array_equal([found.mask(i, (200, 100)) for i in range(2)], expected)


def test_only_masks_of_what_is_answered_are_assembled() -> None:
    # The others would be refused: their sums are beyond float32.
    rows = [(64, 32, 16, 16, 0.9, 1, 0), (65, 32, 16, 16, 0.8, 3e38, 3e38), (64, 8, 8, 8, 0.7, 3e38, 3e38)]
    outputs = columns(*rows) | {"prototypes": np.full((2, 16, 32), 9, np.float32)}
    found = run(outputs, decoder=dfl(MASKS), max_detections=1)
    assert found.masks is not None
    assert len(found.masks) == 1


def test_the_threshold_of_masks_is_the_recipes() -> None:
    outputs = columns((64, 32, 16, 16, 0.9, 1, 0)) | {"prototypes": np.ones((2, 16, 32), np.float32)}  # sigmoid 0.73
    full, empty = (run(outputs, decoder=dfl(MASKS | {"threshold": at})).masks for at in (0.7, 0.75))
    assert full is not None
    assert empty is not None
    assert full[0].all()
    assert not empty[0].any()


def test_nothing_found_has_no_masks_but_a_place_for_them() -> None:
    outputs = columns((64, 32, 16, 16, 0.0, 1, 0)) | {"prototypes": np.ones((2, 16, 32), np.float32)}
    assert run(outputs, decoder=dfl(MASKS)).masks == ()


BY_MASK = MaskNms(kind="mask", iou_threshold=0.3, class_agnostic=False, candidates=1000)


@pytest.mark.parametrize(
    ("suppression", "count"),
    [pytest.param(BY_MASK, 2, id="their pixels lie apart"), pytest.param(nms(), 1, id="their boxes are the same")],
)
def test_suppression_by_masks_keeps_two_objects_in_one_box(suppression: Any, count: int) -> None:
    left = np.full((1, 16, 32), -1, np.float32)
    left[0, :, :16] = 1
    outputs = columns((64, 32, 16, 16, 0.9, 9, 0), (64, 32, 16, 16, 0.8, 0, 9))
    found = run(outputs | {"prototypes": np.concatenate((left, -left))}, decoder=dfl(MASKS), nms=suppression)
    assert len(found) == count


def test_suppression_by_masks_needs_masks() -> None:
    with pytest.raises(ValidationError, match="nms mask needs a decoder with masks"):
        detection_head(nms=BY_MASK)


ANGLE = {"extra": "angle"}


def test_turned_boxes_come_back_with_corners_and_angles() -> None:
    found = run(columns((64, 32, 16, 8, 0.9, 0.3)), decoder=dfl(ANGLE))
    assert found.angles is not None
    assert found.polygons is not None
    np.testing.assert_allclose(found.angles, [0.3], rtol=1e-6)
    across = found.polygons[0][1] - found.polygons[0][0]
    np.testing.assert_allclose(across, [50 * np.cos(0.3), 50 * np.sin(0.3)], rtol=1e-5)  # 16 / 0.32
    np.testing.assert_allclose(found.polygons[0].mean(axis=0), [50, 100], rtol=1e-6)


def test_an_angle_follows_its_edge_where_the_row_is_not_to_scale() -> None:
    affine = place(Stretch(kind="stretch", size_hw=(64, 128)), (200, 100))
    pipeline = DetectionPipeline(manifest(head=detection_head(decoder=dfl(ANGLE)), labels=()))
    rows = [(64, 32, 16, 8, 0.9 - turn / 100, turn) for turn in (0.0, 0.7, 1.6, 3.0, -0.4, -2.0, 5.0)]
    found = pipeline.postprocess(columns(*rows), affine, PredictOptions(iou_threshold=1.0))
    assert found.angles is not None
    assert found.polygons is not None
    edges = np.stack(found.polygons)[:, 1] - np.stack(found.polygons)[:, 0]
    np.testing.assert_allclose(found.angles, np.arctan2(edges[:, 1], edges[:, 0]), atol=1e-5)  # float32 corners


def test_turned_boxes_are_suppressed_by_their_own_overlap() -> None:
    crossing = columns((64, 32, 28, 2, 0.9, 0.7), (64, 32, 28, 2, 0.8, -0.7), (64.5, 32, 28, 2, 0.7, 0.7))
    np.testing.assert_array_equal(run(crossing, decoder=dfl(ANGLE)).scores, f32([0.9, 0.8]))


def test_turned_boxes_without_nms_all_stay() -> None:
    twice = columns((64, 32, 28, 2, 0.8, 0.7), (64, 32, 28, 2, 0.9, 0.7))
    np.testing.assert_array_equal(run(twice, decoder=dfl(ANGLE), nms=None).scores, f32([0.9, 0.8]))


def test_nothing_turned_found_gives_empty_arrays() -> None:
    found = run(columns((64, 32, 28, 2, 0.1, 0.7)), decoder=dfl(ANGLE))
    assert found.angles is not None
    assert (found.angles.shape, found.polygons) == ((0,), ())


def test_turned_boxes_know_no_other_suppression() -> None:
    soft = SoftGaussianNms(kind="soft_gaussian", sigma=0.5, class_agnostic=False, candidates=100)
    with pytest.raises(ValidationError, match="nms of boxes that turn must be hard or null, got soft_gaussian"):
        detection_head(decoder=dfl(ANGLE), nms=soft)


def test_labels_follow_their_boxes() -> None:
    found = run(maps(APART, classes=[0, 1, 2]), labels=("cat", "cup", "sky"))
    assert found.labels == ("cup", "sky", "cat")


def test_as_many_labels_as_classes_are_demanded() -> None:
    with pytest.raises(ModelOutputError, match="names 2 labels, the model has 3 classes"):
        run(maps(APART, classes=[0, 1, 2]), labels=("cat", "cup"))


def test_as_many_labels_as_classes_are_demanded_even_when_nothing_is_found() -> None:
    with pytest.raises(ModelOutputError, match="names 2 labels, the model has 1 classes"):
        run(maps([]), labels=("cat", "cup"))


def test_nothing_found_gives_empty_arrays_of_the_right_shape() -> None:
    found = run(maps([], landmark=0), decoder=center_heatmap())
    assert len(found) == 0
    assert found.keypoints is not None
    assert found.keypoints.shape == (0, 1, 3)


def test_nan_scores_are_refused_instead_of_finding_nothing() -> None:
    outputs = maps([])
    outputs["heatmap"][:] = np.nan
    with pytest.raises(ModelOutputError, match="'heatmap' must be finite"):
        run(outputs)


def test_a_top_k_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="top_k does not apply to detection"):
        run(maps([]), options=PredictOptions(top_k=3))


def test_the_row_of_another_placement_is_refused() -> None:
    affine = Affine(src_hw=(200, 100), dst_hw=(64, 64), scale_xy=(0.32, 0.32), offset_xy=(0.0, 0.0))
    pipeline = DetectionPipeline(manifest(head=detection_head(decoder=LINEAR)))
    with pytest.raises(ModelOutputError, match="must cover a row of 64 x 64"):
        pipeline.postprocess(maps([]), affine, PredictOptions())
