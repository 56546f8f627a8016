"""Results as JSON values and as one line."""

import base64
import json

import cv2
import numpy as np

from pipelines.present import encode_png, summary, to_json
from pipelines.types import Classification, Detections, Embedding, SegmentationMap

CLASSES = Classification(np.array([7, 2], np.int64), np.array([0.75, 0.125], np.float32), ("cup", "cat"))
FACES = Detections(
    boxes=np.array([[1, 2, 30.5, 40]], np.float32),
    scores=np.array([0.5], np.float32),
    class_ids=np.array([0], np.int64),
    labels=("face",),
    keypoints=np.array([[[4, 5, 1]]], np.float32),
)
NOTHING = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
MASK = SegmentationMap(
    np.array([[0, 1], [1, 1]], np.uint8), np.array([[0, 200], [255, 130]], np.uint8), ("background", "salient object")
)


def decode_png(text: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)


def test_json_of_classes_holds_ids_scores_and_labels() -> None:
    assert to_json(CLASSES) == {
        "task": "classification",
        "classes": [
            {"class_id": 7, "score": 0.75, "label": "cup"},
            {"class_id": 2, "score": 0.125, "label": "cat"},
        ],
    }


def test_json_of_detections_holds_boxes_and_keypoints() -> None:
    assert to_json(FACES)["detections"] == [
        {
            "box": [1.0, 2.0, 30.5, 40.0],
            "score": 0.5,
            "class_id": 0,
            "label": "face",
            "keypoints": [[4.0, 5.0, 1.0]],
        }
    ]


def test_json_of_polygons_holds_their_points() -> None:
    outline = np.array([[1, 1], [5, 1], [5, 4]], np.float32)
    found = Detections(FACES.boxes, FACES.scores, FACES.class_ids, polygons=(outline,))
    assert to_json(found)["detections"][0]["polygon"] == outline.tolist()


def test_json_of_a_mask_counts_pixels_and_carries_lossless_png() -> None:
    document = to_json(MASK)
    assert document["classes"][1] == {"class_id": 1, "pixels": 3, "fraction": 0.75, "label": "salient object"}
    np.testing.assert_array_equal(decode_png(document["class_map_png"]), MASK.class_map)
    np.testing.assert_array_equal(decode_png(document["alpha_png"]), MASK.alpha)


def test_every_result_becomes_a_json_document() -> None:
    vector = Embedding(np.array([0.6, 0.8], np.float32))
    for result in (CLASSES, FACES, NOTHING, MASK, vector):
        assert json.loads(json.dumps(to_json(result)))["task"]


def test_summaries_read_as_a_person_would_say_them() -> None:
    assert summary(CLASSES) == "cup 75.0%, cat 12.5%"
    assert summary(FACES) == "1 face with landmarks (best score 0.50)"
    assert summary(NOTHING) == "nothing found"
    assert summary(MASK) == "salient object 75.0%"
    assert summary(SegmentationMap(np.zeros((2, 2), np.uint8))) == "background only"
    assert summary(Embedding(np.array([0.6, 0.8], np.float32))) == "vector of 2, length 1.000"


def test_png_of_a_photo_keeps_its_colours() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    bgr = cv2.imdecode(np.frombuffer(encode_png(photo), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(bgr[..., ::-1], photo)
