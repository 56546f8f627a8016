"""Results as JSON values and as one line."""

import base64
import json

import cv2
import numpy as np

from pipelines.present import encode_mask_png, encode_png, summary, to_json
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


MASKED = Detections(
    boxes=np.array([[3.5, 2, 6, 4], [1, 1, 1, 2]], np.float32),
    scores=np.array([0.5, 0.25], np.float32),
    class_ids=np.array([0, 0], np.int64),
    labels=("cup", "cup"),
    masks=(np.array([[0, 1, 1], [1, 0, 1]], np.bool_), np.empty((1, 0), np.bool_)),
)


def test_json_of_an_instance_mask_says_where_its_lossless_png_lies() -> None:
    first, empty = (row["mask"] for row in to_json(MASKED)["detections"])
    assert (first["left"], first["top"]) == (3, 2)
    assert MASKED.masks is not None
    np.testing.assert_array_equal(decode_png(first["png"]), MASKED.masks[0].astype(np.uint8) * 255)
    assert empty == {"left": 1, "top": 1, "png": ""}


def test_a_mask_takes_one_bit_a_pixel() -> None:
    noise = np.random.default_rng(0).uniform(size=(256, 256)) < 0.5
    assert len(encode_mask_png(noise)) < 1.1 * noise.size / 8


def test_json_of_a_turned_box_holds_its_angle() -> None:
    corners = np.array([[1, 1], [5, 1], [5, 4], [1, 4]], np.float32)
    found = Detections(
        FACES.boxes, FACES.scores, FACES.class_ids, polygons=(corners,), angles=np.array([0.5], np.float32)
    )
    assert to_json(found)["detections"][0]["angle"] == 0.5


def test_json_of_a_mask_counts_pixels_and_carries_lossless_png() -> None:
    document = to_json(MASK)
    assert document["classes"][1] == {"class_id": 1, "pixels": 3, "fraction": 0.75, "label": "salient object"}
    np.testing.assert_array_equal(decode_png(document["class_map_png"]), MASK.class_map)
    np.testing.assert_array_equal(decode_png(document["alpha_png"]), MASK.alpha)


def test_every_result_becomes_a_json_document() -> None:
    vector = Embedding(np.array([0.6, 0.8], np.float32))
    for result in (CLASSES, FACES, NOTHING, MASKED, MASK, vector):
        assert json.loads(json.dumps(to_json(result)))["task"]


def test_summaries_read_as_a_person_would_say_them() -> None:
    assert summary(CLASSES) == "cup 75.0%, cat 12.5%"
    assert summary(FACES) == "1 face with landmarks (best score 0.50)"
    assert summary(MASKED) == "2 cup with masks (best score 0.50)"
    assert summary(NOTHING) == "nothing found"
    assert summary(MASK) == "salient object 75.0%"
    assert summary(SegmentationMap(np.zeros((2, 2), np.uint8))) == "background only"
    assert summary(Embedding(np.array([0.6, 0.8], np.float32))) == "vector of 2, length 1.000"


def test_png_of_a_photo_keeps_its_colours() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    bgr = cv2.imdecode(np.frombuffer(encode_png(photo), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(bgr[..., ::-1], photo)
