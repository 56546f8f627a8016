import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from pipelines.present import to_json
from serving.app import ListeningServer
from serving.oip.tensors import from_raw, to_raw
from tests.packages import make_package
from tests.serving.oip.models import ECHO, ECHOED, serve_echo
from tests.serving.servers import PATIENCE_S, Offline, server_in_thread

HEADER = "inference-header-content-length"
FUZZED = 150


def send(http: httpx.Client, model: str, document: dict[str, Any], *binary: bytes, **headers: str) -> httpx.Response:
    header = json.dumps(document).encode()
    if binary:
        headers[HEADER] = str(len(header))
    return http.post(f"/v2/models/{model}/infer", content=header + b"".join(binary), headers=headers)


def outputs_of(response: httpx.Response) -> dict[str, Any]:
    """Arrays by name, from JSON and from binary data."""
    assert response.status_code == 200, response.text
    length = int(response.headers.get(HEADER, len(response.content)))
    rest, found = response.content[length:], {}
    for output in json.loads(response.content[:length])["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = np.reshape(np.array(output["data"]), output["shape"])
        else:
            found[output["name"]] = from_raw("", output["datatype"], output["shape"], rest[:size]).array
            rest = rest[size:]
    assert not rest
    return found


def pixels(rows: int = 2) -> Any:
    return np.linspace(-1, 1, rows * 3 * 32 * 32, dtype=np.float32).reshape(rows, 3, 32, 32)


def graph_input(values: Any, **over: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "FP32", "shape": list(values.shape)} | over


def image_input(*images: bytes) -> dict[str, Any]:
    data = [base64.b64encode(image).decode() for image in images]
    return {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data}


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    root = tmp_path_factory.mktemp("echo")
    make_package(root / "models" / ECHO / "1", name=ECHO)
    with pytest.MonkeyPatch.context() as patch:
        serve_echo(patch, root)
        with (
            server_in_thread(root / "models") as server,
            httpx.Client(base_url=f"http://{server.http_address}", trust_env=False, timeout=PATIENCE_S) as http,
        ):
            yield http


def test_tensors_run_the_graph_alone(http: httpx.Client, shared_server: ListeningServer):
    session = shared_server.catalog.find("classes", 0).loaded.session
    expected = np.concatenate([session.run({"image": pixels()[[i]]})["logits"] for i in range(2)])
    in_json = send(http, "classes", {"inputs": [graph_input(pixels(), data=pixels().tolist())]})
    there = graph_input(pixels(), parameters={"binary_data_size": pixels().nbytes})
    asked = {"inputs": [there], "parameters": {"binary_data_output": True}}
    in_binary = send(http, "classes", asked, pixels().tobytes())
    assert in_binary.headers["content-type"] == "application/octet-stream"
    assert np.array_equal(np.float32(outputs_of(in_json)["logits"]), expected)
    assert np.array_equal(outputs_of(in_binary)["logits"], expected)


@pytest.mark.parametrize("answer", ["json", "binary"])
def test_every_dtype_goes_through_a_graph_and_back(echo: httpx.Client, answer: str):
    sent = {
        name: from_raw("", name, (2, 1), b"\x01\0\0\0a" * 2 if name == "BYTES" else bytes(2 * size))
        for name in ECHOED
        for size in [from_raw("", name, (0,), b"").array.dtype.itemsize]
    }
    raws = {name: bytes(to_raw(tensor)) for name, tensor in sent.items()}
    inputs = [
        {"name": f"in_{name}", "datatype": name, "shape": [2, 1], "parameters": {"binary_data_size": len(raws[name])}}
        for name in ECHOED
    ]
    document = {"inputs": inputs, "parameters": {"binary_data_output": answer == "binary"}}
    outputs = outputs_of(send(echo, ECHO, document, *raws.values()))
    for name, tensor in sent.items():
        back = outputs[f"out_{name}"].tolist()
        plain = [[item[0].decode()] for item in tensor.array] if name == "BYTES" and answer == "json" else None
        assert back == (plain or tensor.array.tolist())


def test_images_run_the_pipeline(http: httpx.Client, offline: Offline, photos: list[bytes]):
    response = send(http, "things", {"id": "7", "inputs": [image_input(*photos[:3])]})
    assert response.json()["id"] == "7"
    found = [json.loads(text) for text in outputs_of(response)["result"]]
    assert found == [to_json(offline("things", photo)) for photo in photos[:3]]


def test_the_best_classes_are_named(http: httpx.Client):
    outputs = [{"name": "logits", "parameters": {"classification": 2}}]
    response = send(http, "classes", {"inputs": [graph_input(pixels(), data=pixels().tolist())], "outputs": outputs})
    best = outputs_of(response)["logits"]
    assert best.shape == (2, 2)
    assert all(entry.count(":") == 2 for entry in best.ravel())


def test_what_is_asked_for_is_answered_in_its_order_and_form(http: httpx.Client, photos: list[bytes]):
    outputs = [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "class_ids"}]
    response = send(http, "classes", {"inputs": [image_input(photos[0])], "outputs": outputs})
    assert list(outputs_of(response)) == ["scores", "class_ids"]
    assert int(response.headers[HEADER]) < len(response.content)


@pytest.mark.parametrize(
    ("document", "status", "said"),
    [
        ({}, 400, "inputs must be one tensor or more"),
        ({"inputs": [image_input(b"no")]}, 400, "image must be JPEG"),
        ({"inputs": [graph_input(np.zeros((1, 3, 8, 8)), datatype="FP64", data=[0] * 192)]}, 400, "must be FP32"),
        ({"inputs": [graph_input(np.zeros(1), data=[0])]}, 400, "image"),
        ({"inputs": [image_input(b"no")], "parameters": {"sequence_id": 7}}, 501, "sequence_id is not offered"),
        ({"inputs": [image_input(b"no")], "parameters": {"timeout": 1}}, 504, "deadline"),
    ],
)
def test_a_bad_request_has_its_status(http: httpx.Client, document: dict[str, Any], status: int, said: str):
    response = send(http, "classes", document)
    assert response.status_code == status
    assert said in response.json()["error"]


def test_a_model_that_is_not_known_is_said_before_the_body_is_read(http: httpx.Client):
    response = send(http, "no", {})
    assert (response.status_code, response.json()["reason"]) == (404, "UnknownModelError")


def test_any_damage_to_a_request_is_answered_as_a_request_and_never_as_a_fault(
    http: httpx.Client, shared_server: ListeningServer, photos: list[bytes]
):
    chance = random.Random(7)
    raw = len(photos[1]).to_bytes(4, "little") + photos[1]
    there = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [there], "parameters": {"binary_data_output": True}}).encode()
    statuses = set()
    for _ in range(FUZZED):
        body = bytearray(header + raw)
        place = chance.randrange(len(header) + 12)
        body[place : place + chance.randint(0, 4)] = chance.choice((chance.randbytes(3), b"[", b'"', b"9", b"null"))
        length = chance.choice((str(len(header)), str(len(header)), str(len(body)), "x"))
        response = http.post("/v2/models/classes/infer", content=bytes(body), headers={HEADER: length})
        statuses.add(response.status_code)
    assert statuses <= {200, 400, 404, 501}
    assert 400 in statuses
    assert shared_server.catalog.is_serving("classes")


def test_the_pages_of_the_protocol_are_found_in_the_extensions(http: httpx.Client):
    assert {"binary_tensor_data", "ocella_image"} <= set(http.get("/v2").json()["extensions"])


def test_raw_images_need_no_base64(http: httpx.Client, offline: Offline, photos: list[bytes]):
    raw = b"".join(len(photo).to_bytes(4, "little") + photo for photo in photos[:2])
    there = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    outputs = outputs_of(send(http, "vectors", {"inputs": [there]}, raw))
    for row, photo in zip(np.float32(outputs["embedding"]), photos[:2], strict=True):
        assert row.tolist() == to_json(offline("vectors", photo))["vector"]
