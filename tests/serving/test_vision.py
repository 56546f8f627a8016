"""The RPCs of ``ocella.v1.Vision`` through the asynchronous client, on real packages."""

import asyncio
import json
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status as RpcStatus

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    ImageDecodeError,
    ImageTooLargeError,
    InvalidRequestError,
    ModelNotReadyError,
    OverloadedError,
    ServerFaultError,
    UnknownModelError,
)
from pipelines.manifest import parse_manifest, read_raw_manifest
from pipelines.options import PredictOptions
from pipelines.types import AnyArray, SegmentationMap, identical
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from tests.packages import edit_manifest, make_package
from tests.serving.servers import PATIENCE_S, FaultySession, GatedSession, Offline, running_server, swap_session

MODELS = ("classes", "things", "masks", "vectors")


@pytest.mark.parametrize("model", MODELS)
async def test_predict_equals_the_offline_result_to_the_bit(
    client: AsyncVisionClient, offline: Offline, photos: list[bytes], model: str
):
    for image in photos:
        prediction = await client.predict(model, image)
        assert identical(prediction.result, offline(model, image))


async def test_options_travel_and_act(client: AsyncVisionClient, offline: Offline, photos: list[bytes]):
    asked = {"score_threshold": 0.7, "iou_threshold": 0.9, "max_detections": 3}
    prediction = await client.predict("things", photos[0], **asked)
    assert identical(prediction.result, offline("things", photos[0], PredictOptions(**asked)))


async def test_a_threshold_of_zero_is_not_the_same_as_none(client: AsyncVisionClient, photos: list[bytes]):
    everything = await client.predict("things", photos[0], score_threshold=0.0, iou_threshold=1.0)
    assert len(everything.result) > len((await client.predict("things", photos[0])).result)


async def test_run_lengths_carry_the_same_classes(client: AsyncVisionClient, photos: list[bytes]):
    png = (await client.predict("masks", photos[0], mask_format="png")).result
    rle = (await client.predict("masks", photos[0], mask_format="rle")).result
    assert identical(rle, SegmentationMap(png.class_map, None, png.labels))


async def test_timings_come_where_they_are_asked_for(client: AsyncVisionClient, photos: list[bytes]):
    assert (await client.predict("classes", photos[0])).timings is None
    timings = (await client.predict("classes", photos[0], timings=True)).timings
    assert timings
    assert all(seconds > 0 for seconds in vars(timings).values())


@pytest.mark.parametrize(
    ("model", "arguments", "error", "said"),
    [
        ("cats", {}, UnknownModelError, "no model is called 'cats'"),
        ("", {}, UnknownModelError, "no model is called ''"),
        ("things", {"version": 7}, UnknownModelError, r"version of things must be among \[1\] or 0, got 7"),
        ("things", {"version": -1}, UnknownModelError, "got -1"),
        ("things", {"score_threshold": float("nan")}, InvalidRequestError, "score_threshold must be between 0 and 1"),
        ("things", {"score_threshold": 1.01}, InvalidRequestError, "got 1.01"),
        ("things", {"iou_threshold": float("-inf")}, InvalidRequestError, "iou_threshold"),
        ("things", {"max_detections": 0}, InvalidRequestError, "max_detections must be between 1 and 100,000, got 0"),
        ("things", {"top_k": 3}, InvalidRequestError, "top_k does not apply to detection"),
        ("things", {"mask_format": "png"}, InvalidRequestError, "mask_format does not apply to a model"),
        ("vectors", {"score_threshold": 0.5}, InvalidRequestError, "score_threshold does not apply to embedding"),
    ],
)
async def test_a_bad_request_is_one_clear_error(
    client: AsyncVisionClient,
    photos: list[bytes],
    model: str,
    arguments: dict[str, object],
    error: type[Exception],
    said: str,
):
    with pytest.raises(error, match=said):
        await client.predict(model, photos[0], **arguments)


async def test_a_mask_format_that_does_not_apply_is_refused_before_the_model_runs(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "things", GatedSession)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(InvalidRequestError, match="mask_format"):
            await client.predict("things", photos[0], mask_format="rle")
    assert made[0].batches == []


async def test_an_unknown_mask_format_is_refused_with_those_on_offer(server: ListeningServer, photos: list[bytes]):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        request = pb.PredictRequest(model="masks", image=photos[0], options=pb.PredictOptions(mask_format=7))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await VisionStub(channel).Predict(request, timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "MASK_FORMAT_PNG, MASK_FORMAT_RLE" in caught.value.details()


async def test_an_id_is_echoed(server: ListeningServer, photos: list[bytes]):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        request = pb.PredictRequest(model="classes", image=photos[0], id="frame 7")
        assert (await VisionStub(channel).Predict(request, timeout=PATIENCE_S)).id == "frame 7"


async def test_a_prediction_carries_the_id_of_its_request(client: AsyncVisionClient, photos: list[bytes]):
    assert (await client.predict("classes", photos[0], id="frame 7")).id == "frame 7"
    assert (await client.predict("classes", photos[0])).id == ""


async def test_an_image_above_the_limit_is_too_large(repository: Path, photos: list[bytes]):
    async with (
        running_server(repository, max_image_bytes=len(photos[0]) - 1) as server,
        AsyncVisionClient(server.grpc_address) as client,
    ):
        with pytest.raises(ImageTooLargeError, match="the limit is"):
            await client.predict("classes", photos[0])


async def test_a_message_far_above_the_limit_is_too_large_as_well(repository: Path):
    async with (
        running_server(repository, max_image_bytes=1000) as server,
        AsyncVisionClient(server.grpc_address) as client,
    ):
        with pytest.raises(ImageTooLargeError, match="RESOURCE_EXHAUSTED"):
            await client.predict("classes", bytes(1_000_000))


async def test_a_deadline_of_a_millisecond_is_exceeded_and_costs_nobody_else(
    server: ListeningServer, photos: list[bytes]
):
    async with AsyncVisionClient(server.grpc_address) as client:
        await client.predict("classes", photos[0])
        with pytest.raises(DeadlineExceededError):
            await client.predict("things", photos[0], timeout_s=0.001)
        await client.predict("classes", photos[0])


async def test_a_hung_model_costs_a_caller_its_deadline_and_no_more(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "things", GatedSession)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(DeadlineExceededError):
            await client.predict("things", photos[0], timeout_s=0.2)
        assert (await client.predict("classes", photos[0])).model == "classes"
        async with asyncio.timeout(PATIENCE_S):
            await server.plane.wait_empty()
        value = server.metrics.registry.get_sample_value
        labels = {"model": "things", "version": "1", "method": "Predict", "code": "DEADLINE_EXCEEDED"}
        assert value("ocella_requests_total", labels) == 1
        assert value("ocella_cancelled_total", {"model": "things", "version": "1"}) == 0
        made[0].gate.set()
        assert (await client.predict("things", photos[0])).model == "things"


async def test_overload_is_refused_with_a_retry_hint(
    folders: dict[str, Path], tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    make_package(tmp_path / "classes" / "1", name="classes")
    (tmp_path / "classes" / "deploy.toml").write_text(
        "[batching]\nmax_size = 1\nmax_queue = 1\n[runtime]\ninstances=1\n"
    )
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        inside = [asyncio.create_task(client.predict("classes", photos[0])) for _ in range(2)]
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        batcher = server.catalog.find("classes", 1).batcher
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < 2:
                await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="at most 2 requests may be inside") as caught:
            await client.predict("classes", photos[0])
        assert caught.value.retry_after_s > 0
        made[0].gate.set()
        await asyncio.gather(*inside)


async def test_a_refusal_carries_the_standard_details(server: ListeningServer):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await VisionStub(channel).Predict(pb.PredictRequest(model="cats"), timeout=PATIENCE_S)
    trailers = dict(tuple(caught.value.trailing_metadata()))
    status = RpcStatus.FromString(trailers["grpc-status-details-bin"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason) == ("ocella", "UnknownModelError")
    assert not any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)


async def test_a_model_that_raises_is_our_fault_and_costs_no_other_request(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def spoil(outputs: dict[str, AnyArray]) -> dict[str, AnyArray]:
        raise RuntimeError("the accelerator is on fire")

    swap_session(monkeypatch, "things", lambda session: FaultySession(session, spoil))
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(ServerFaultError, match=r"^internal error, request [0-9a-f]{16}$"):
            await client.predict("things", photos[0])
        assert (await client.predict("classes", photos[0])).model == "classes"
    assert "the accelerator is on fire" in caplog.text


async def test_models_are_listed_ready_or_not(folders: dict[str, Path], tmp_path: Path, photos: list[bytes]):
    make_package(tmp_path / "good" / "3", name="good", version=3)
    make_package(tmp_path / "bad" / "1", name="bad")
    edit_manifest(tmp_path / "bad" / "1", lambda raw: raw["image"].update(color="bgr"), reseal=False)
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        bad, good = await client.list_models()
        assert (good.name, good.version, good.task, good.ready, good.reason) == ("good", 3, "classification", True, "")
        assert (bad.name, bad.version, bad.task, bad.ready) == ("bad", 1, "classification", False)
        assert "recipe changed" in bad.reason
        with pytest.raises(ModelNotReadyError, match="bad version 1 is not ready: recipe changed"):
            await client.predict("bad", photos[0])
        assert (await client.predict("good", photos[0])).version == 3


async def test_version_0_is_the_newest_and_each_can_be_asked_for(tmp_path: Path, photos: list[bytes]):
    for version in (1, 2):
        make_package(tmp_path / "classes" / str(version), name="classes", version=version)
    (tmp_path / "classes" / "deploy.toml").write_text('versions = "all"\n')
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        assert [(await client.predict("classes", photos[0], version=asked)).version for asked in (0, 1, 2)] == [2, 1, 2]


async def test_a_model_is_described_by_its_manifest(
    server: ListeningServer, client: AsyncVisionClient, folders: dict[str, Path]
):
    description = await client.describe_model("things")
    described = parse_manifest(json.loads(description.manifest_json))
    assert described == parse_manifest(read_raw_manifest(folders["things"]))
    max_batch = server.catalog.find("things", 0).policy.max_size
    assert (description.provider, description.max_batch) == ("CPUExecutionProvider", max_batch)
    assert "stability" in description.golden


async def test_an_unknown_model_cannot_be_described(client: AsyncVisionClient):
    with pytest.raises(UnknownModelError):
        await client.describe_model("cats")


async def test_a_draining_server_refuses_new_requests_as_unavailable(
    server: ListeningServer, client: AsyncVisionClient, photos: list[bytes]
):
    await client.predict("classes", photos[0])
    server.catalog.drain()
    with pytest.raises(DrainingError, match="the server is stopping"):
        await client.predict("classes", photos[0])


async def test_a_request_that_its_client_leaves_is_counted_as_cancelled(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    made = swap_session(monkeypatch, "classes", GatedSession)
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address) as client:
        leaves = asyncio.create_task(client.predict("classes", photos[0]))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        leaves.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.plane.wait_empty()
        made[0].gate.set()
        value = server.metrics.registry.get_sample_value
        assert value("ocella_cancelled_total", {"model": "classes", "version": "1"}) == 1
        labels = {"model": "classes", "version": "1", "method": "Predict", "code": "CANCELLED"}
        assert value("ocella_requests_total", labels) == 1
        with pytest.raises(ImageDecodeError):
            await client.predict("classes", b"no image")
