import queue
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from protos.ocella.v1 import vision_pb2, vision_pb2_grpc
from protos.oip import infer_pb2, service_pb2_grpc
from serving.security.cli import add_token
from serving.security.grpc_connections import GrpcConnections
from serving.security.roles import Role
from tests.packages import photo, png
from tests.serving.security.apis import (
    MODEL,
    Caller,
    get_models,
    infer,
    infer_images,
    list_models,
    post_image,
    predict,
    server_metadata,
)
from tests.serving.security.matrix import documented
from tests.serving.servers import PATIENCE_S, GatedSession, server_in_thread, swap_session

FAULTS = (
    "message above `OCELLA_MAX_IMAGE_BYTES` and 64 KiB",
    "image above `OCELLA_MAX_IMAGE_BYTES`",
    "image above `OCELLA_MAX_IMAGE_PIXELS`",
    "more images than `OCELLA_MAX_REQUEST_IMAGES`",
    "tensor above `OCELLA_MAX_TENSOR_ELEMENTS`",
    "requests faster than `--max-requests-per-s`",
    "more streams than `OCELLA_MAX_STREAMS`",
    "more gRPC connections than `OCELLA_MAX_GRPC_CONNECTIONS`",
    "more gRPC connections of an address than `OCELLA_MAX_CONNECTIONS`",
    "queue above `max_queue` of `deploy.toml`",
    "queue above `max_queue_bytes` of `deploy.toml`",
    "run longer than `--max-request-s`",
)


def expected(fault: str) -> dict[str, str]:
    assert fault in FAULTS
    return documented()[fault]


@pytest.fixture(scope="module")
def narrow(model: Path) -> Iterator[Caller]:
    """A caller of a server that takes only small requests."""
    limits = {"max_image_bytes": 30_000, "max_image_pixels": 6000, "max_request_images": 2}
    with server_in_thread(model, **limits, max_tensor_elements=1000) as server:
        yield Caller(server=server)


def test_a_request_within_the_limits_is_answered_by_each_api(narrow: Caller, image: bytes):
    answers = (narrow.code(predict(image)), narrow.code(infer_images(image, image)), narrow.status(post_image(image)))
    assert answers == ("OK", "OK", "200")


@pytest.mark.parametrize(
    ("fault", "image"),
    [
        ("message above `OCELLA_MAX_IMAGE_BYTES` and 64 KiB", bytes(200_000)),
        ("image above `OCELLA_MAX_IMAGE_BYTES`", bytes(30_001)),
        ("image above `OCELLA_MAX_IMAGE_PIXELS`", png(photo("astronaut", size_wh=(64, 100)))),
    ],
)
def test_an_image_that_is_too_large_is_refused(narrow: Caller, fault: str, image: bytes):
    assert expected(fault) == {
        "ocella.v1": narrow.code(predict(image)),
        "OIP": narrow.code(infer_images(image)),
        "HTTP": narrow.status(post_image(image)),
    }
    assert all("limit" in words or "larger than max" in words for words in map(narrow.words, _both(image)))


def test_a_request_of_too_many_images_is_refused(narrow: Caller, image: bytes):
    files = [("image", (f"{i}.png", image)) for i in range(3)]
    assert expected("more images than `OCELLA_MAX_REQUEST_IMAGES`") == {
        "OIP": narrow.code(infer_images(*[image] * 3)),
        "HTTP": narrow.status(lambda client: client.post(f"/v1/models/{MODEL}:predict", files=files)),
    }


def test_a_tensor_of_too_many_elements_is_refused(narrow: Caller):
    assert _tensor_codes(narrow, side=18) == {"OIP": "OK", "OIP, typed": "OK", "HTTP": "200"}
    answers = _tensor_codes(narrow, side=19)
    assert answers.pop("OIP, typed") == answers["OIP"]
    assert expected("tensor above `OCELLA_MAX_TENSOR_ELEMENTS`") == answers


def test_a_client_that_asks_too_often_is_refused_and_told_when_to_come(model: Path):
    with server_in_thread(model, max_requests_per_s=0.01) as server:
        caller = Caller(server=server)
        assert caller.code(list_models) == "OK"
        assert expected("requests faster than `--max-requests-per-s`") == {
            "ocella.v1": caller.code(list_models),
            "OIP": caller.code(server_metadata),
            "HTTP": caller.status(get_models),
        }
        with caller.http() as client:
            assert 90 <= int(client.get("/v1/models").headers["retry-after"]) <= 100
            assert 'reason="rate"' in client.get("/metrics").text


def test_each_image_of_a_stream_counts_for_the_rate(model: Path, image: bytes):
    requests = [vision_pb2.PredictRequest(model=MODEL, image=image, id=str(i)) for i in range(3)]
    with server_in_thread(model, max_requests_per_s=0.01) as server, Caller(server=server).channel() as channel:
        answers = list(_predict_stream(channel, requests, {"timeout": PATIENCE_S}))
    assert [answer.error.code for answer in answers] == [0, *[grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]] * 2]


def test_clients_with_names_do_not_share_a_rate(model: Path, tmp_path: Path):
    names = [add_token(tmp_path / "tokens.txt", name, [Role.INFER], None)[0] for name in ("camera-1", "camera-2")]
    with server_in_thread(model, max_requests_per_s=0.01, tokens=tmp_path / "tokens.txt") as server:
        first, second = (Caller(server=server).bearing(text) for text in names)
        assert [first.code(list_models), first.status(get_models)] == ["OK", "429"]
        assert [second.status(get_models), second.code(list_models)] == ["200", "RESOURCE_EXHAUSTED"]


def test_a_client_that_holds_its_streams_is_refused_one_more(model: Path):
    with server_in_thread(model, max_streams=1) as server:
        caller = Caller(server=server)
        with _open_stream(caller):
            assert expected("more streams than `OCELLA_MAX_STREAMS`") == {
                "ocella.v1": caller.code(lambda channel, call: next(_predict_stream(channel, iter(()), call))),
                "OIP": caller.code(lambda channel, call: next(_infer_stream(channel, iter(()), call))),
            }


def test_a_stream_that_ended_makes_room(model: Path):
    with server_in_thread(model, max_streams=1) as server:
        for _ in range(3):
            assert Caller(server=server).code(lambda channel, call: list(_predict_stream(channel, (), call))) == "OK"


def test_a_connection_beyond_those_of_grpc_is_refused(model: Path):
    with server_in_thread(model, max_grpc_connections=1) as server:
        caller = Caller(server=server)
        with caller.channel() as first:
            list_models(first, {"timeout": PATIENCE_S})
            assert expected("more gRPC connections than `OCELLA_MAX_GRPC_CONNECTIONS`") == {
                "ocella.v1": caller.code(list_models),
                "OIP": caller.code(server_metadata),
            }


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_an_address_with_all_its_grpc_connections_open_loses_one_more(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("serving.app.GrpcConnections", partial(GrpcConnections, interval_s=0.02))
    nothing: queue.Queue[Any] = queue.Queue()
    with server_in_thread(model, max_connections=1) as server:
        caller = Caller(server=server)
        with _open_stream(caller):
            fault = "more gRPC connections of an address than `OCELLA_MAX_CONNECTIONS`"
            assert expected(fault) == {
                "ocella.v1": caller.code(lambda channel, call: list(_predict_stream(channel, _waiting(nothing), call))),
                "OIP": caller.code(lambda channel, call: list(_infer_stream(channel, _waiting(nothing), call))),
            }
            nothing.put(None)
            nothing.put(None)


@pytest.mark.parametrize(
    ("fault", "deploy"),
    [
        (
            "queue above `max_queue` of `deploy.toml`",
            "[batching]\nmax_size = 1\nmax_queue = 0\n[runtime]\ninstances = 1\n",
        ),
        ("queue above `max_queue_bytes` of `deploy.toml`", "[batching]\nmax_queue_bytes = 1\n"),
    ],
)
def test_a_queue_that_is_full_refuses_more(
    model: Path, tmp_path: Path, image: bytes, monkeypatch: Any, fault: str, deploy: str
):
    shutil.copytree(model, tmp_path / MODEL)
    (tmp_path / MODEL / "deploy.toml").write_text(deploy)
    gates = swap_session(monkeypatch, MODEL, GatedSession)
    with server_in_thread(tmp_path) as server, Caller(server=server).channel() as channel:
        request = vision_pb2.PredictRequest(model=MODEL, image=image)
        inside = vision_pb2_grpc.VisionStub(channel).Predict.future(request, timeout=PATIENCE_S)
        assert gates[0].entered.acquire(timeout=PATIENCE_S)
        caller = Caller(server=server)
        assert expected(fault) == {
            "ocella.v1": caller.code(predict(image)),
            "OIP": caller.code(infer_images(image)),
            "HTTP": caller.status(post_image(image)),
        }
        gates[0].gate.set()
        assert inside.result().model == MODEL


def test_a_run_that_takes_too_long_is_given_up(model: Path, image: bytes, monkeypatch: Any):
    gates = swap_session(monkeypatch, MODEL, GatedSession)
    with server_in_thread(model, max_request_s=0.5) as server:
        caller = Caller(server=server)
        answers = {
            "ocella.v1": caller.code(predict(image)),
            "OIP": caller.code(infer_images(image)),
            "HTTP": caller.status(post_image(image)),
        }
        gates[0].gate.set()
    assert expected("run longer than `--max-request-s`") == answers


def _both(image: bytes) -> list[Any]:
    return [predict(image), infer_images(image)]


def _tensor_codes(caller: Caller, *, side: int) -> dict[str, str]:
    """What a square of zeros, three channels of it, is answered."""
    shape, count = [1, 3, side, side], 3 * side * side
    raw, typed = infer_pb2.ModelInferRequest(model_name=MODEL), infer_pb2.ModelInferRequest(model_name=MODEL)
    raw.inputs.add(name="image", datatype="FP32", shape=shape)
    raw.raw_input_contents.append(np.zeros(count, np.float32).tobytes())
    typed.inputs.add(name="image", datatype="FP32", shape=shape).contents.fp32_contents.extend([0.0] * count)
    document = {"inputs": [{"name": "image", "datatype": "FP32", "shape": shape, "data": [0.0] * count}]}
    return {
        "OIP": caller.code(infer(raw)),
        "OIP, typed": caller.code(infer(typed)),
        "HTTP": caller.status(lambda client: client.post(f"/v2/models/{MODEL}/infer", json=document)),
    }


def _predict_stream(channel: grpc.Channel, requests: Any, call: Any) -> Any:
    return vision_pb2_grpc.VisionStub(channel).PredictStream(iter(requests), **call)


def _infer_stream(channel: grpc.Channel, requests: Any, call: Any) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests), **call)


@pytest.mark.parametrize(("size", "code"), [(15_000, "OK"), (17_000, "RESOURCE_EXHAUSTED")])
def test_metadata_has_at_most_16_kib(narrow: Caller, size: int, code: str):
    def call(channel: grpc.Channel, given: dict[str, Any]) -> None:
        list_models(channel, {**given, "metadata": [("x", "a" * size)]})

    assert [narrow.code(call) for _ in range(5)] == [code] * 5  # gRPC alone refuses by lot


def _waiting(requests: queue.Queue[Any]) -> Iterator[Any]:
    """Requests that do not come: the stream stays open."""
    return iter(requests.get, None)


@contextmanager
def _open_stream(caller: Caller) -> Iterator[None]:
    """A stream that the server serves while the block runs: its first request was answered."""
    requests: queue.Queue[vision_pb2.PredictRequest | None] = queue.Queue()
    requests.put(vision_pb2.PredictRequest(model="no such model"))
    with caller.channel() as channel:
        answers = _predict_stream(channel, iter(requests.get, None), {"timeout": PATIENCE_S})
        assert next(answers).error.code
        try:
            yield
        finally:
            requests.put(None)
            assert list(answers) == []
