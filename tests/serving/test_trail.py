"""What is recorded of each request, over a real server."""

import asyncio
import threading
from contextvars import Context
from pathlib import Path

import grpc.aio
import httpx
import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, OcellaError
from protos.oip import infer_pb2
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.client import AsyncVisionClient
from serving.trail import STAGES, Arrival, Trail, current_arrival
from tests.serving.servers import PATIENCE_S, GatedSession, swap_session
from tests.serving.trails import recording_server, until


def of(trail: Trail) -> tuple[str, str, str, str, str]:
    return trail.arrival.api, trail.method, trail.model, trail.version, trail.code


def image_request(model: str, image: bytes) -> infer_pb2.ModelInferRequest:
    tensor = infer_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(image)
    return infer_pb2.ModelInferRequest(model_name=model, inputs=[tensor])


async def test_each_api_leaves_one_trail_of_one_image(repository: Path, photos: list[bytes]):
    async with recording_server(repository) as (server, trails):
        async with AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client:
            await client.predict("classes", photos[0])
        request = image_request("classes", photos[0])
        async with grpc.aio.insecure_channel(server.grpc_address) as channel:
            await GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=PATIENCE_S)
        async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
            path = "/v1/models/classes/versions/1:predict"
            assert (await http.post(path, content=photos[0], timeout=PATIENCE_S)).status_code == 200
    assert [of(trail) for trail in trails] == [
        ("grpc", "Predict", "classes", "1", "OK"),
        ("oip", "ModelInfer", "classes", "1", "OK"),
        ("http", "v1.predict", "classes", "1", "OK"),
    ]
    assert [trail.bytes_in for trail in trails] == [len(photos[0]), request.ByteSize(), len(photos[0])]
    assert trails[2].arrival.route == "POST /v1/models/{name}/versions/{version}:predict"
    for trail in trails:
        assert (trail.images, trail.image_hw) == (1, (200, 300))
        assert len(trail.stages) == len(STAGES)
        assert 0 < sum(trail.stages) <= trail.total_s


async def test_a_request_that_fails_has_no_stages_and_says_why(repository: Path):
    async with (
        recording_server(repository) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        for model in ("classes", "no such model"):
            with pytest.raises(OcellaError):
                await client.predict(model, b"no image")
    assert [of(trail)[2:] for trail in trails] == [
        ("classes", "1", "INVALID_ARGUMENT"),
        ("no such model", "", "NOT_FOUND"),
    ]
    assert [trail.failure.reason for trail in trails] == ["ImageDecodeError", "UnknownModelError"]
    assert [(trail.stages, trail.images, trail.bytes_in) for trail in trails] == [([], 0, 8)] * 2


async def test_tensors_leave_their_waiting_and_their_run(repository: Path):
    row = np.zeros((1, 3, 32, 32), np.float32)
    tensor = infer_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="FP32", shape=row.shape)
    request = infer_pb2.ModelInferRequest(model_name="classes", inputs=[tensor], raw_input_contents=[row.tobytes()])
    async with (
        recording_server(repository) as (server, trails),
        grpc.aio.insecure_channel(server.grpc_address) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        await stub.ModelInfer(request, timeout=PATIENCE_S)
    trail = trails[-1]
    assert (trail.images, trail.image_hw) == (0, None)
    spent = dict(zip(STAGES, trail.stages, strict=True))
    assert spent.pop("queue") > 0
    assert spent.pop("inference") > 0
    assert set(spent.values()) == {0.0}


async def test_a_stream_leaves_one_trail_that_counts_its_requests(repository: Path, photos: list[bytes]):
    async with (
        recording_server(repository) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        images = [photos[0], b"bad", photos[1], b"worse"]
        assert len([answer async for answer in client.predict_stream("classes", images)]) == 4
        await until(lambda: len(trails) == 5)
    *frames, whole = trails
    assert all(frame.is_frame for frame in frames)
    assert {frame.arrival.request_id for frame in frames} == {whole.arrival.request_id}
    assert whole.frames.codes == {"OK": 2, "INVALID_ARGUMENT": 2}
    assert whole.frames.dropped == 0
    assert (whole.method, whole.model, whole.version, whole.code) == ("PredictStream", "classes", "1", "OK")
    assert whole.bytes_in == sum(map(len, images))
    first, second = (frame.stages for frame in frames if frame.stages)
    assert whole.stages == pytest.approx([a + b for a, b in zip(first, second, strict=True)])


async def test_a_dropped_request_of_a_stream_is_counted_as_dropped_alone(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made: list[GatedSession] = swap_session(monkeypatch, "classes", GatedSession)
    async with (
        recording_server(repository, canary_interval_s=0) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        sent = threading.Event()

        def images():
            yield from [photos[0]] * 12
            sent.set()

        stream = client.predict_stream("classes", images(), window=1, when_full="drop_oldest")
        first = asyncio.ensure_future(anext(stream))
        dropped = server.metrics.frames_dropped
        await until(lambda: sent.is_set() and dropped.value >= 10)
        made[0].gate.set()
        kinds = [type(await first).__name__] + [type(answer).__name__ async for answer in stream]
        await until(lambda: trails and trails[-1].frames is not None)
    whole = trails[-1]
    assert whole.frames.dropped == kinds.count("FrameDroppedError") > 0
    assert whole.frames.codes == {"OK": kinds.count("Prediction")}


@pytest.mark.parametrize(("timeout_s", "code"), [(0.05, "DEADLINE_EXCEEDED"), (None, "CANCELLED")])
async def test_a_request_that_nobody_waits_for_any_more_says_how_it_ended(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, timeout_s: float | None, code: str
):
    made: list[GatedSession] = swap_session(monkeypatch, "classes", GatedSession)
    async with (
        recording_server(repository, canary_interval_s=0) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        asked = asyncio.ensure_future(client.predict("classes", photos[0], timeout_s=timeout_s))
        if timeout_s is None:
            await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
            asked.cancel()
        with pytest.raises((DeadlineExceededError, asyncio.CancelledError)):
            await asked
        await until(lambda: trails)
        made[0].gate.set()
    assert [trail.code for trail in trails] == [code]


def test_a_call_that_no_transport_told_of_has_an_id_all_the_same():
    nowhere = Context()  # else another test's call may be told of here
    assert nowhere.run(current_arrival).request_id != nowhere.run(current_arrival).request_id


def test_trails_add_up_over_the_images_of_a_request():
    trail = Trail(Arrival("grpc", "", "7"), "ModelInfer")
    trail.answered((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (10, 20))
    trail.answered((1.0, 1.0, 1.0, 1.0, 1.0, 1.0), (30, 40))
    assert (trail.images, trail.image_hw, trail.stages) == (2, (30, 40), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
