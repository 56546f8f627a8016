"""One image through every way in: the same numbers, to the bit, for every kind of answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from pipelines.present import to_json
from pipelines.types import CascadeResult, Detections
from protos.oip import infer_pb2 as pb
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.app import ListeningServer
from serving.client import VisionClient
from tests.cascades import SECONDS, align_crop, make_cascade
from tests.packages import make_package
from tests.pipelines.recipes import PACKAGES
from tests.serving.servers import PATIENCE_S, Offline, server_in_thread

RECIPES = {"instances": "instances", "turned": "turned", "points": "skeletons"}
NESTED = {f"with-{second}": second for second in SECONDS}
ONE_TASK = ("classes", "things", "masks", "vectors")


@pytest.fixture(scope="module")
def all_folders(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every task; detections with masks of objects, with turned boxes, with keypoints; a cascade of each kind."""
    root = tmp_path_factory.mktemp("every-task")
    made = {name: make_package(root / name / "1", name=name, **PACKAGES[recipe]()) for name, recipe in RECIPES.items()}
    for name, second in NESTED.items():
        crop = align_crop() if second == "embedding" else None
        made[name] = make_cascade(root / name / "1", second=second, crop=crop, name=name)
    return {**folders, **made}


@pytest.fixture(scope="module")
def every(all_folders: dict[str, Path]) -> Iterator[ListeningServer]:
    with server_in_thread(*{folder.parent.parent for folder in all_folders.values()}) as server:
        yield server


@pytest.fixture(scope="module")
def truth(all_folders: dict[str, Path]) -> Offline:
    return Offline(all_folders)


def by_client(server: ListeningServer, model: str, photo: bytes) -> Any:
    with VisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client:
        return to_json(client.predict(model, photo).result)


def by_inference_protocol(server: ListeningServer, model: str, photo: bytes) -> Any:
    asked = pb.ModelInferRequest(model_name=model, outputs=[{"name": "result"}])
    asked.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(photo)
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(asked, timeout=PATIENCE_S)
    return json.loads(answer.raw_output_contents[0][4:])  # after the length of the string


def post(server: ListeningServer, path: str, **body: Any) -> Any:
    url = f"http://{server.http_address}{path}"
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as http:
        return http.post(url, **body).raise_for_status().json()


def by_inference_over_http(server: ListeningServer, model: str, photo: bytes) -> Any:
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(photo).decode()]}
    asked = {"inputs": [given], "outputs": [{"name": "result"}]}
    return json.loads(post(server, f"/v2/models/{model}/infer", json=asked)["outputs"][0]["data"][0])


def by_plain_http(server: ListeningServer, model: str, photo: bytes) -> Any:
    (prediction,) = post(server, f"/v1/models/{model}:predict", content=photo)["predictions"]
    return prediction["result"]


WAYS = (by_client, by_inference_protocol, by_inference_over_http, by_plain_http)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("model", [*ONE_TASK, *RECIPES, *NESTED])
def test_an_image_gives_the_numbers_of_the_offline_path_through_every_way_in(
    every: ListeningServer, truth: Offline, photos: list[bytes], model: str, way: Any
):
    for photo in photos[:2]:
        assert way(every, model, photo) == to_json(truth(model, photo))


def test_the_photo_shows_what_is_compared(truth: Offline, photos: list[bytes]):
    found = truth("instances", photos[0])
    assert isinstance(found, Detections)
    assert found.masks
    for model in NESTED:
        nested = truth(model, photos[0])
        assert isinstance(nested, CascadeResult)
        assert nested.objects
