from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import ImageDecodeError, InvalidRequestError, ServerFaultError
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.wire import encode_image, read_prediction, write_request
from tests.corpus import picture


def test_encoded_bytes_travel_as_they_are():
    assert encode_image(b"\xff\xd8 whatever") == b"\xff\xd8 whatever"


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_travels_as_the_bytes_of_its_file(tmp_path: Path, kind: type):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 whatever")
    assert encode_image(kind(tmp_path / "photo.jpg")) == b"\xff\xd8 whatever"


def test_an_rgb_array_travels_without_loss():
    image = picture((31, 17))
    assert np.array_equal(cv2.imdecode(np.frombuffer(encode_image(image), np.uint8), cv2.IMREAD_COLOR_RGB), image)


def test_a_view_of_an_array_travels_as_what_it_shows():
    image = picture((31, 17))[::-1, ::2]
    assert np.array_equal(cv2.imdecode(np.frombuffer(encode_image(image), np.uint8), cv2.IMREAD_COLOR_RGB), image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        7,
        None,
    ],
    ids=["grey", "with alpha", "floats", "no pixels", "a number", "nothing"],
)
def test_what_is_no_image_is_refused_before_it_is_sent(image: object):
    with pytest.raises(ImageDecodeError, match="image must"):
        encode_image(image)


def test_a_missing_file_is_one_clear_error(tmp_path: Path):
    with pytest.raises(ImageDecodeError, match=r"none\.png cannot be read: No such file"):
        encode_image(tmp_path / "none.png")


@pytest.mark.parametrize(
    "options",
    [
        {"score_treshold": 0.5},
        {"top_k": 2**40},
        {"top_k": "five"},
        {"score_threshold": "half"},
        {"mask_format": "svg"},
    ],
    ids=str,
)
def test_an_option_that_no_field_can_hold_is_refused_before_it_is_sent(options: dict[str, object]):
    with pytest.raises(InvalidRequestError):
        write_request("faces", b"", options)


def test_a_version_that_no_field_can_hold_is_refused_before_it_is_sent():
    with pytest.raises(InvalidRequestError):
        write_request("faces", b"", {}, version=2**70)


@pytest.mark.parametrize(
    "response",
    [
        pb.PredictResponse(),
        pb.PredictResponse(detections=pb.Detections(keypoints=pb.Keypoints(per_object=3, skeleton=[0, 1, 2]))),
        pb.PredictResponse(detections=pb.Detections(keypoints=pb.Keypoints(per_object=3, skeleton=[0, 3]))),
        pb.PredictResponse(detections=pb.Detections(boxes=[1, 2, 3], scores=[0.5], class_ids=[0])),
        pb.PredictResponse(detections=pb.Detections(boxes=[1, 2, 3, 4], scores=[0.5])),
        pb.PredictResponse(classification=pb.Classification(class_ids=[1], scores=[0.5], labels=["a", "b"])),
        pb.PredictResponse(
            detections=pb.Detections(
                boxes=[1, 2, 3, 4], scores=[0.5], class_ids=[0], polygons=pb.Polygons(sizes=[2], values=[1, 2])
            )
        ),
        pb.PredictResponse(
            detections=pb.Detections(
                boxes=[0, 0, 2, 2],
                scores=[0.5],
                class_ids=[0],
                masks=pb.ObjectMasks(objects=[pb.ObjectMask(width=2, height=2, counts=[1, 1])]),
            )
        ),
        pb.PredictResponse(
            detections=pb.Detections(
                boxes=[0, 0, 2, 2],
                scores=[0.5],
                class_ids=[0],
                masks=pb.ObjectMasks(objects=[pb.ObjectMask(width=3, height=2, counts=[6])]),
            )
        ),
        pb.PredictResponse(
            detections=pb.Detections(boxes=[0, 0, 2, 2], scores=[0.5], class_ids=[0], angles=pb.Angles(radians=[0.5]))
        ),
        pb.PredictResponse(segmentation=pb.Segmentation(class_map_png=b"no png")),
        pb.PredictResponse(cascade=pb.Cascade(objects=[pb.CascadeObject(transform=[1, 0, 0, 0, 1, 0])])),
        pb.PredictResponse(
            cascade=pb.Cascade(objects=[pb.CascadeObject(transform=[1, 0], embedding=pb.Embedding(vector=[1]))])
        ),
        pb.PredictResponse(
            cascade=pb.Cascade(
                objects=[pb.CascadeObject(transform=[1, 0, 0, 0, 1, 0], embedding=pb.Embedding(vector=[1]))]
            )
        ),
        pb.PredictResponse(
            detections=pb.Detections(
                boxes=[0, 0, 2, 2],
                scores=[0.5],
                class_ids=[0],
                masks=pb.ObjectMasks(
                    objects=[pb.ObjectMask(width=2, height=2, regions=[pb.Region(outer=[0, 0, 1, 1])])]
                ),
            )
        ),
        pb.PredictResponse(
            image=pb.ImageSize(width=2, height=2),
            segmentation=pb.Segmentation(class_masks=[pb.ClassMask(class_id=1, counts=[1, 1])]),
        ),
    ],
    ids=[
        "nothing",
        "odd skeleton",
        "skeleton",
        "boxes",
        "classes",
        "labels",
        "polygons",
        "mask runs",
        "mask size",
        "angles",
        "png",
        "object without a result",
        "transform",
        "objects without detections",
        "outline of two points",
        "runs",
    ],
)
def test_an_answer_that_does_not_fit_together_is_the_servers_fault(response: pb.PredictResponse):
    with pytest.raises(ServerFaultError):
        read_prediction(response)
