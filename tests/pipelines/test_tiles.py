"""Tiles: where they lie, and that together they answer as the image would."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.boxes import iou_matrix
from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions
from pipelines.session import OnnxSession
from pipelines.specs import Stretch
from pipelines.tasks import Pipeline, build_pipeline, predict
from pipelines.tile_options import TileOptions
from pipelines.tiles import Tiling, plan, predict_tiles, spans
from pipelines.types import Detections, SegmentationMap, identical
from tests.builders import (
    classification_head,
    detection_head,
    embedding_head,
    image_spec,
    manifest,
    segmentation_head,
)
from tests.graphs import heatmap_graph, segmenter_graph
from tests.packages import photo

SMALL = TileOptions(size=96, overlap=0.25)
own_size = image_spec(fit=Stretch(kind="stretch", size_hw=(96, 96)))
lengths, sizes, overlaps = st.integers(1, 3000), st.integers(32, 1000), st.floats(0, 0.9)


def pixels(size_wh: tuple[int, int] = (300, 200)) -> np.ndarray:
    return np.asarray(photo(size_wh=size_wh))


HEADS = {
    "things": (detection_head(), heatmap_graph),
    "alpha": (segmentation_head(activation="sigmoid"), segmenter_graph),
    "classes": (segmentation_head(activation="softmax"), lambda: segmenter_graph(num_classes=4)),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Pipeline, OnnxSession]]:
    """Pipelines and sessions: ``things`` with landmarks, ``alpha`` with one foreground, ``classes`` with four."""
    root = tmp_path_factory.mktemp("graphs")
    for name, (_, graph) in HEADS.items():
        (root / name).write_bytes(graph().SerializeToString())
    return {name: (pipeline_of(name), OnnxSession(root / name)) for name in HEADS}


def pipeline_of(name: str) -> Pipeline:
    return build_pipeline(manifest(head=HEADS[name][0], image=own_size))


# --- where they lie --------------------------------------------------------------------------------------------------


@given(lengths, sizes, overlaps)
def test_tiles_of_an_axis_cover_every_pixel_and_lie_inside(length: int, size: int, overlap: float):
    seen = np.zeros(length, int)
    for start, end in spans(length, size, overlap):
        assert 0 <= start < end <= length
        seen[start:end] += 1
    assert seen.min() >= 1


@given(lengths, sizes, overlaps)
def test_the_last_tile_ends_with_the_axis_and_all_have_the_size_asked_for(length: int, size: int, overlap: float):
    found = spans(length, size, overlap)
    assert found[-1][1] == length
    assert {end - start for start, end in found} == {min(length, size)}


@given(lengths, sizes, overlaps)
def test_neighbours_share_at_least_the_overlap_asked_for(length: int, size: int, overlap: float):
    found = spans(length, size, overlap)
    shared = [end - start for (_, end), (start, _) in pairwise(found)]
    assert all(min(size - 1, size * overlap) <= each < size for each in shared)


@given(lengths, sizes, overlaps)
def test_no_tile_can_be_left_out(length: int, size: int, overlap: float):
    found = spans(length, size, overlap)
    step = size - int(np.ceil(size * overlap))
    assert len(found) == 1 or len(found) == -(-(length - size) // max(1, step)) + 1


def test_tiles_come_row_by_row_and_the_whole_image_last():
    found = plan((100, 150), TileOptions(size=100, overlap=0.0, whole_image=True))
    assert found == ((0, 0, 100, 100), (50, 0, 150, 100), (0, 0, 150, 100))


def test_an_image_that_fits_one_tile_is_not_answered_twice():
    assert plan((64, 100), TileOptions(size=100, whole_image=True)) == ((0, 0, 100, 64),)


def test_too_many_tiles_are_refused_with_their_number():
    options = TileOptions(size=100, overlap=0.0, whole_image=True, max_tiles=4)
    assert len(plan((100, 300), options)) == 4
    with pytest.raises(InvalidRequestError, match=r"has 5 tiles of 100 px with overlap 0\.0, the limit is 4"):
        plan((100, 400), options)


# --- what they answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "tiles"),
    [
        ("things", TileOptions(size=300)),
        ("things", TileOptions(size=300, whole_image=True, criterion="ios", merge_threshold=0.0)),
        ("alpha", TileOptions(size=300)),
        ("classes", TileOptions(size=300)),
    ],
)
def test_an_image_in_one_tile_is_answered_as_by_predict(models, kind: str, tiles: TileOptions):
    pipeline, session = models[kind]
    image = pixels()
    answer = predict_tiles(pipeline, session, image, tiles)
    assert identical(answer.merged, predict(pipeline, session, [image])[0])


def test_each_tile_is_answered_as_its_pixels_alone_and_moved_to_its_place(models):
    pipeline, session = models["things"]
    image = pixels()
    answer = predict_tiles(pipeline, session, image, SMALL)
    assert len(answer.windows) == 12
    for (left, top, right, bottom), result in zip(answer.windows, answer.results, strict=True):
        (alone,) = predict(pipeline, session, [np.ascontiguousarray(image[top:bottom, left:right])])
        assert isinstance(alone, Detections)
        assert isinstance(result, Detections)
        np.testing.assert_array_equal(result.boxes, alone.boxes + np.float32([left, top, left, top]))
        np.testing.assert_array_equal(result.keypoints[..., :2], alone.keypoints[..., :2] + np.float32([left, top]))
        np.testing.assert_array_equal(result.scores, alone.scores)


def test_merged_objects_are_those_of_the_tiles_without_two_that_overlap(models):
    pipeline, session = models["things"]
    answer = predict_tiles(pipeline, session, pixels(), SMALL, PredictOptions(max_detections=100_000))
    seen = {tuple(box) for result in answer.results for box in result.boxes.tolist()}
    merged = answer.merged
    assert 0 < len(merged) < sum(len(result) for result in answer.results)
    assert {tuple(box) for box in merged.boxes.tolist()} <= seen
    assert np.all(np.diff(merged.scores) <= 0)
    again = predict_tiles(pipeline, session, pixels(), SMALL, PredictOptions(max_detections=7))
    assert len(again.merged) == 7


def test_the_requests_iou_threshold_acts_across_tiles_too(models):
    pipeline, session = models["things"]
    counts = [
        len(predict_tiles(pipeline, session, pixels(), SMALL, PredictOptions(iou_threshold=each)).merged)
        for each in (0.05, 0.9)
    ]
    assert counts[0] < counts[1]


def test_alpha_lies_between_the_tiles_that_see_a_pixel_and_is_theirs_where_one_is_alone(models):
    pipeline, session = models["alpha"]
    image = pixels()
    answer = predict_tiles(pipeline, session, image, SMALL)
    low, high = np.full(image.shape[:2], 255, np.uint8), np.zeros(image.shape[:2], np.uint8)
    for (left, top, right, bottom), result in zip(answer.windows, answer.results, strict=True):
        part = np.s_[top:bottom, left:right]
        low[part], high[part] = np.minimum(low[part], result.alpha), np.maximum(high[part], result.alpha)
    merged = answer.merged
    assert isinstance(merged, SegmentationMap)
    assert np.any(low < high)
    assert np.all((low <= merged.alpha) & (merged.alpha <= high))
    np.testing.assert_array_equal(merged.class_map, merged.alpha >= 0.5 * 255)


def test_the_threshold_of_a_request_acts_on_blended_alpha(models):
    pipeline, session = models["alpha"]
    strict, loose = (
        predict_tiles(pipeline, session, pixels(), SMALL, PredictOptions(score_threshold=each)).merged
        for each in (0.9, 0.1)
    )
    assert strict.class_map.sum() < loose.class_map.sum()


def test_a_class_map_takes_at_each_pixel_a_class_that_some_tile_saw_there(models):
    pipeline, session = models["classes"]
    image = pixels()
    answer = predict_tiles(pipeline, session, image, SMALL)
    seen = np.zeros((4, *image.shape[:2]), bool)
    for (left, top, right, bottom), result in zip(answer.windows, answer.results, strict=True):
        for class_id in range(4):
            seen[class_id, top:bottom, left:right] |= result.class_map == class_id
    chosen = np.take_along_axis(seen, answer.merged.class_map[None].astype(int), axis=0)
    assert chosen.all()
    assert len(np.unique(answer.merged.class_map)) > 1
    assert answer.merged.labels == ("background", "sky", "cup", "cat")


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [classification_head(), embedding_head()], ids=["classification", "embedding"])
def test_whole_image_tasks_are_refused(head):
    with pytest.raises(InvalidRequestError, match=f"tiles apply to detection and segmentation, not to {head.task}"):
        Tiling(build_pipeline(manifest(head=head)), SMALL)


def test_maps_stretched_between_their_own_extremes_are_refused():
    with pytest.raises(InvalidRequestError, match="a tile without foreground would be full of it"):
        Tiling(build_pipeline(manifest(head=segmentation_head(activation="minmax"))), SMALL)


def test_an_option_that_does_not_act_on_the_model_is_refused():
    with pytest.raises(InvalidRequestError, match="top_k does not apply"):
        Tiling(pipeline_of("things"), SMALL, PredictOptions(top_k=3))


@pytest.mark.parametrize(
    "over", [{"merge": "suppress"}, {"criterion": "ios"}, {"merge_threshold": 0.5}, {"whole_image": True}]
)
def test_options_for_objects_are_refused_for_masks(over: dict):
    with pytest.raises(InvalidRequestError, match=f"{next(iter(over))} does not apply to segmentation in tiles"):
        Tiling(pipeline_of("alpha"), TileOptions(**over))


def test_objects_with_points_are_not_fused(models):
    pipeline, session = models["things"]
    with pytest.raises(InvalidRequestError, match="merge fuse does not apply to objects with keypoints"):
        predict_tiles(pipeline, session, pixels(), TileOptions(size=96, merge="fuse"))


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"size": 31}, "tile size must be between 32 and 16,384, got 31"),
        ({"overlap": 0.91}, "tile overlap must be between 0 and 0.9, got 0.91"),
        ({"overlap": float("nan")}, "tile overlap must be between 0 and 0.9, got nan"),
        ({"max_tiles": 1025}, "max_tiles must be between 1 and 1,024, got 1,025"),
        ({"merge": "add"}, "merge must be one of suppress, fuse, got 'add'"),
        ({"criterion": "area"}, "criterion must be one of iou, ios, got 'area'"),
        ({"merge": "fuse", "criterion": "iou"}, "criterion does not apply to merge fuse, which measures IoU, got iou"),
        ({"merge_threshold": -0.1}, "merge_threshold must be between 0 and 1, got -0.1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "-".join(value),
)
def test_tile_options_out_of_range_are_refused(over: dict, words: str):
    with pytest.raises(InvalidRequestError, match=re.escape(words)):
        TileOptions(**over)


def test_a_head_without_suppression_is_suppressed_across_tiles_all_the_same(models):
    pipeline = build_pipeline(manifest(head=detection_head(nms=None), image=own_size))
    merged = predict_tiles(pipeline, models["things"][1], pixels(), SMALL).merged
    overlaps = iou_matrix(merged.boxes, merged.boxes)
    assert len(merged) > 1
    assert np.triu(overlaps, k=1).max() <= 0.5
