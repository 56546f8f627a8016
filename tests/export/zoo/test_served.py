"""The main job: real models behind a real server answer real photos as they do offline, to the bit."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from pipelines.image import decode_image
from pipelines.present import encode_png
from pipelines.types import Classification, Detections, SegmentationMap, identical
from serving.client import VisionClient
from tests.packages import IMAGES
from tests.serving.servers import Offline, server_in_thread

SERVED = ("centerface", "u2netp", "page-orientation", "text-detector", "efficientnet-lite0")
CLOCKWISE = {"90": cv2.ROTATE_90_CLOCKWISE, "180": cv2.ROTATE_180, "270": cv2.ROTATE_90_COUNTERCLOCKWISE}


@pytest.fixture(scope="module")
def folders(pulled_model: Callable[[str], Path]) -> dict[str, Path]:
    return {name: pulled_model(name) for name in SERVED}


@pytest.fixture(scope="module")
def offline(folders: dict[str, Path]) -> Offline:
    return Offline(folders)


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[VisionClient]:
    with server_in_thread(*folders.values()) as server, VisionClient(server.grpc_address, timeout_s=120) as client:
        yield client


def photo(name: str) -> bytes:
    return next(IMAGES.glob(f"{name}.*")).read_bytes()


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket", "page"])
@pytest.mark.parametrize("model", SERVED)
def test_the_server_answers_as_the_offline_path_does(
    client: VisionClient, offline: Offline, model: str, name: str
) -> None:
    assert identical(client.predict(model, photo(name)).result, offline(model, photo(name)))


def test_one_face_with_landmarks_is_found_on_the_astronaut_and_none_in_the_coffee(client: VisionClient) -> None:
    faces = client.predict("centerface", photo("astronaut")).result
    assert isinstance(faces, Detections)
    assert len(faces) == 1
    assert faces.keypoints is not None
    assert faces.keypoints.shape == (1, 5, 3)
    assert len(client.predict("centerface", photo("coffee")).result) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "low", "high"), [("chelsea", 0.5, 0.8), ("coffee", 0.35, 0.6)])
def test_the_salient_mask_is_clean(client: VisionClient, name: str, low: float, high: float) -> None:
    """About the part of the picture that the object takes, and in one piece."""
    mask = client.predict("u2netp", photo(name)).result
    assert isinstance(mask, SegmentationMap)
    assert low < mask.class_map.mean() < high
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.class_map)
    assert stats[1:, cv2.CC_STAT_AREA].max() / mask.class_map.sum() > 0.98


@pytest.mark.parametrize("degrees", ["0", *CLOCKWISE])
def test_the_orientation_of_a_page_is_right(client: VisionClient, degrees: str) -> None:
    page = decode_image(photo("page"), exif="apply", alpha="white")
    turned = cv2.rotate(page, CLOCKWISE[degrees]) if degrees in CLOCKWISE else page
    answer = client.predict("page-orientation", encode_png(turned), top_k=1).result
    assert isinstance(answer, Classification)
    assert answer.labels == (degrees,)


def test_photos_of_many_sizes_at_once_get_their_own_answers(client: VisionClient, offline: Offline) -> None:
    names = ["chelsea", "page", "coffee", "astronaut", "rocket"] * 2
    answers = client.predict_stream("page-orientation", (photo(name) for name in names))
    for name, answer in zip(names, answers, strict=True):
        assert identical(answer.result, offline("page-orientation", photo(name)))  # type: ignore[union-attr]
