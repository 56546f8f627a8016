"""Real cascades behind a real server: faces found by CenterFace, each answered by a second model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from export.cascade import CascadeRecipe, write_cascade
from pipelines.faces import template_points
from pipelines.specs import AlignCrop, BoxCrop, Crop
from pipelines.types import CascadeResult, Classification, identical
from serving.client import VisionClient
from tests.packages import IMAGES
from tests.serving.servers import Offline, server_in_thread

pytestmark = pytest.mark.slow

ALIGN = AlignCrop(kind="align", template="arcface_112", landmarks=(0, 1, 2, 3, 4), size_px=112, pad_value=0)
BOX = BoxCrop(kind="box", margin=0.3, square=True, pad_value=114)
CASCADES: dict[str, tuple[str, Crop]] = {
    "faces-seen": ("efficientnet-lite0", BOX),
    "faces-turned": ("page-orientation", ALIGN),
}


def photo(name: str) -> Path:
    return next(IMAGES.glob(f"{name}.*"))


@pytest.fixture(scope="module")
def folders(pulled_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("cascades")
    for name, (second, crop) in CASCADES.items():
        recipe = CascadeRecipe(name=name, version=1, description="faces, then more", crop=crop)
        detector, other = pulled_model("centerface"), pulled_model(second)
        write_cascade(root / name / "1", recipe, detector=detector, second=other, samples=[photo("astronaut")])
    return {name: root / name / "1" for name in CASCADES}


@pytest.fixture(scope="module")
def offline(folders: dict[str, Path]) -> Offline:
    return Offline(folders)


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[VisionClient]:
    with server_in_thread(*folders.values()) as server, VisionClient(server.grpc_address, timeout_s=120) as client:
        yield client


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("model", CASCADES)
def test_the_server_answers_as_the_offline_path_does(
    client: VisionClient, offline: Offline, model: str, name: str
) -> None:
    data = photo(name).read_bytes()
    assert identical(client.predict(model, data).result, offline(model, data))


@pytest.mark.parametrize("model", CASCADES)
def test_the_astronauts_face_is_answered_by_the_second_model(client: VisionClient, model: str) -> None:
    result = client.predict(model, photo("astronaut").read_bytes(), top_k=2).result
    assert isinstance(result, CascadeResult)
    (nested,) = result.objects
    assert isinstance(nested, Classification)
    assert len(nested) == 2
    assert len(client.predict(model, photo("coffee").read_bytes()).result) == 0  # type: ignore[arg-type]


def test_an_aligned_face_lies_as_the_template_says(client: VisionClient) -> None:
    """So the detector's landmarks come in the template's order: any other leaves them dozens of pixels away."""
    result = client.predict("faces-turned", photo("astronaut").read_bytes()).result
    assert isinstance(result, CascadeResult)
    assert result.detections.keypoints is not None
    points = np.column_stack((result.detections.keypoints[0, :, :2], np.ones(5)))
    placed = points @ result.transforms[0].T
    assert np.abs(placed - template_points("arcface_112", 112)).max() < 8  # one face is not the mean of all faces
    upright = result.objects[0]
    assert isinstance(upright, Classification)
