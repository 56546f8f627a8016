"""The whole way on tiny real graphs and a real photo: from encoded image to result, with frozen answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipelines.errors import ImageTooLargeError, InvalidRequestError, ModelRunError
from pipelines.image import ImageLimits
from pipelines.options import PredictOptions
from pipelines.session import OnnxSession, Session, split_rows
from pipelines.specs import Head
from pipelines.tasks import PIPELINES, Pipeline, build_pipeline, predict
from pipelines.types import ByteArray, Classification, Detections, Embedding, SegmentationMap, identical
from tests import graphs
from tests.builders import (
    classification_head,
    detection_head,
    embedding_head,
    image_spec,
    letterbox,
    manifest,
    probability_map,
    segmentation_head,
    yolo_grid,
)

PHOTO = (Path(__file__).parents[3] / "examples" / "images" / "astronaut.png").read_bytes()
SCORE_ATOL = 1e-3  # float32 kernels of different CPUs, summed over a tiny net
PIXEL_ATOL = 0.1  # the same through an exponential, in pixels of a 512 x 512 photo

MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], Head]] = {
    "classifier": (graphs.classifier_graph, classification_head()),
    "centers": (graphs.heatmap_graph, detection_head()),
    "anchors": (graphs.yolo_graph, detection_head(decoder=yolo_grid())),
    "regions": (graphs.probability_map_graph, detection_head(decoder=probability_map(), nms=None)),
    "foreground": (graphs.segmenter_graph, segmentation_head()),
    "classes": (lambda: graphs.segmenter_graph(num_classes=4), segmentation_head(activation="softmax")),
    "embedder": (graphs.embedder_graph, embedding_head()),
}


@contextmanager
def opened(folder: Path, model: str, **over: Any) -> Iterator[tuple[Pipeline, Session]]:
    graph, head = MODELS[model]
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    with OnnxSession(folder / "model.onnx") as session:
        yield build_pipeline(manifest(head=head, **over)), session


def answer(folder: Path, model: str, **over: Any) -> Any:
    with opened(folder, model, **over) as (pipeline, session):
        (result,) = predict(pipeline, session, [pipeline.decode(PHOTO, ImageLimits())])
    return result


def test_the_classifier_gives_its_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "classifier")
    assert isinstance(found, Classification)
    assert found.class_ids.tolist() == [2, 9, 7, 1, 6]
    np.testing.assert_allclose(found.scores, [0.9632, 0.0167, 0.0116, 0.0035, 0.0019], atol=SCORE_ATOL)


def test_the_centers_give_their_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "centers")
    assert isinstance(found, Detections)
    assert len(found) == pytest.approx(27, abs=2)  # the nearest tie with the IoU threshold is 1e-4 away
    np.testing.assert_allclose(found.scores[:3], [0.9917, 0.9897, 0.9872], atol=SCORE_ATOL)
    expected = [[269.9, 105.9, 434.9, 250.3], [35.0, 83.6, 207.2, 241.3], [272.2, 19.8, 435.7, 168.8]]
    np.testing.assert_allclose(found.boxes[:3], expected, atol=PIXEL_ATOL)
    assert found.keypoints is not None
    np.testing.assert_allclose(found.keypoints[0, :2], [[349.5, 169.7, 1], [395.6, 209.4, 1]], atol=PIXEL_ATOL)


def test_the_anchors_give_their_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "anchors")
    assert isinstance(found, Detections)
    assert found.labels[:3] == ("class 8", "class 3", "class 3")
    np.testing.assert_allclose(found.scores[:3], [0.9810, 0.9784, 0.9717], atol=SCORE_ATOL)
    np.testing.assert_allclose(found.boxes[1], [179.7, 168.4, 512, 251.3], atol=PIXEL_ATOL)


def test_the_regions_give_their_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "regions")
    assert isinstance(found, Detections)
    np.testing.assert_allclose(found.scores[:5], [0.6507, 0.6286, 0.5615, 0.5561, 0.5393], atol=SCORE_ATOL)
    assert found.polygons is not None
    expected = [[232.2, 466.9], [301.1, 466.9], [301.1, 519.8], [232.2, 519.8]]
    np.testing.assert_allclose(found.polygons[0], expected, atol=PIXEL_ATOL)


def test_the_foreground_gives_its_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "foreground")
    assert isinstance(found, SegmentationMap)
    assert found.alpha is not None
    assert found.alpha.shape == (512, 512)
    levels = found.alpha[256, ::64].astype(int)
    np.testing.assert_allclose(levels, [110, 125, 208, 204, 137, 71, 27, 23], atol=1)  # truncated to 8 bits
    assert found.class_map.mean() == pytest.approx(0.3404, abs=SCORE_ATOL)


def test_the_classes_give_their_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "classes")
    assert isinstance(found, SegmentationMap)
    shares = np.bincount(found.class_map.ravel()) / found.class_map.size
    np.testing.assert_allclose(shares, [0.1006, 0.0226, 0.2477, 0.6291], atol=SCORE_ATOL)


def test_the_embedder_gives_its_frozen_answer(tmp_path: Path) -> None:
    found = answer(tmp_path, "embedder")
    assert isinstance(found, Embedding)
    np.testing.assert_allclose(found.vector[:4], [-0.1897, 0.2555, -0.1925, 0.0102], atol=SCORE_ATOL)


def photos() -> list[ByteArray]:
    """Four images of different sizes and content."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((60, 90), (90, 60), (128, 128), (33, 200))]


@pytest.mark.parametrize("model", MODELS)
def test_predicting_twice_gives_the_same_bits(tmp_path: Path, model: str) -> None:
    with opened(tmp_path, model) as (pipeline, session):
        first, second = (predict(pipeline, session, photos()) for _ in range(2))
    assert all(identical(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_postprocessing_a_row_of_a_batch_gives_the_bits_of_the_row_alone(tmp_path: Path, model: str) -> None:
    with opened(tmp_path, model) as (pipeline, session):
        rows, affines = zip(*(pipeline.preprocess(image) for image in photos()), strict=True)
        outputs = session.run({"image": np.stack(rows)})
        for row_outputs, affine in zip(split_rows(outputs, expected_rows=4), affines, strict=True):
            alone = {name: value.copy() for name, value in row_outputs.items()}
            in_batch = pipeline.postprocess(row_outputs, affine, PredictOptions())
            assert identical(in_batch, pipeline.postprocess(alone, affine, PredictOptions()))


@pytest.mark.parametrize("model", MODELS)
def test_preprocessing_into_a_slot_gives_the_bits_of_a_new_row(tmp_path: Path, model: str) -> None:
    with opened(tmp_path, model) as (pipeline, _):
        for image in photos():
            batch = np.full((3, *pipeline.row_shape((image.shape[0], image.shape[1]))), np.nan, np.float32)
            row, affine = pipeline.preprocess(image)
            into, same_affine = pipeline.preprocess(image, out=batch[1])
            np.testing.assert_array_equal(batch[1], row)
            assert into is not row
            assert affine == same_affine


def test_no_images_give_no_results(tmp_path: Path) -> None:
    with opened(tmp_path, "classifier") as (pipeline, session):
        assert predict(pipeline, session, []) == []


def test_options_are_checked_before_anything_runs(tmp_path: Path) -> None:
    with opened(tmp_path, "classifier") as (pipeline, session):
        session.close()
        with pytest.raises(InvalidRequestError, match="iou_threshold does not apply to classification"):
            predict(pipeline, session, photos(), PredictOptions(iou_threshold=0.5))


def test_options_reach_the_result(tmp_path: Path) -> None:
    with opened(tmp_path, "classifier") as (pipeline, session):
        (result,) = predict(pipeline, session, photos()[:1], PredictOptions(top_k=1))
    assert isinstance(result, Classification)
    assert len(result) == 1


def test_a_failing_graph_is_named(tmp_path: Path) -> None:
    with opened(tmp_path, "classifier") as (pipeline, session):
        session.close()
        with pytest.raises(ModelRunError, match="closed"):
            predict(pipeline, session, photos())


def test_decoding_keeps_to_the_limits(tmp_path: Path) -> None:
    with opened(tmp_path, "classifier") as (pipeline, _), pytest.raises(ImageTooLargeError):
        pipeline.decode(PHOTO, ImageLimits(max_pixels=1000))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"color": "bgr"}, id="colour order"),
        pytest.param({"scale": 200.0}, id="scale"),
        pytest.param({"mean": (0.5, 0.456, 0.406)}, id="mean"),
        pytest.param({"std": (0.229, 0.224, 0.3)}, id="std"),
        pytest.param({"resample": "pil_bilinear"}, id="kernel"),
        pytest.param({"fit": letterbox(pad_position="top_left")}, id="place of the padding"),
        pytest.param({"fit": letterbox(pad_value=0)}, id="padding"),
    ],
)
@pytest.mark.parametrize("model", ["classifier", "embedder"])
def test_the_graphs_of_the_tests_react_to_every_step_of_the_preprocessing(
    tmp_path: Path, model: str, change: dict[str, Any]
) -> None:
    plain, other = answer(tmp_path, model), answer(tmp_path, model, image=image_spec(**change))
    name = "scores" if model == "classifier" else "vector"
    assert not np.allclose(getattr(plain, name), getattr(other, name), atol=SCORE_ATOL)


def test_every_task_has_a_pipeline() -> None:
    tasks = {head.task for _, head in MODELS.values()}
    assert set(PIPELINES) == tasks
