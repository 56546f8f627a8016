"""Ids and traces on their way in and back, over a real server."""

import contextlib
from pathlib import Path

import grpc.aio
import httpx
import pytest

from pipelines.errors import ModelRunError, ServerFaultError
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from protos.oip import infer_pb2, metadata_pb2
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.app import ListeningServer
from serving.arrivals import Arrivals, api_of
from serving.client import AsyncVisionClient, carrying
from serving.request_id import is_valid
from serving.tracing.context import TraceContext
from serving.trail import current_arrival
from tests.serving.servers import PATIENCE_S, FaultySession, running_server, swap_session

PARENT = f"00-{'a1' * 16}-{'b2' * 8}-01"
SENT = (("x-request-id", "order 66"), ("traceparent", PARENT), ("tracestate", "shop=1"))
TOLD = {"x-request-id": "order 66", "traceparent": PARENT, "tracestate": "shop=1"}


async def trailers(call: grpc.aio.Call) -> dict[str, str]:
    """The id and trace of a call's trailing metadata, however it ended."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        pairs = error.trailing_metadata()
    else:
        pairs = await call.trailing_metadata()
    return {key: value for key, value in pairs if key in TOLD}


async def test_the_callers_id_and_trace_come_back_with_answers_and_refusals(server: ListeningServer):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        vision, oip = VisionStub(channel), GRPCInferenceServiceStub(channel)
        calls = [
            vision.ListModels(pb.ListModelsRequest(), metadata=SENT),
            vision.DescribeModel(pb.DescribeModelRequest(model="no such model"), metadata=SENT),
            vision.Predict(pb.PredictRequest(model="classes", image=b"no image"), metadata=SENT),
            oip.ServerLive(metadata_pb2.ServerLiveRequest(), metadata=SENT),
            oip.ModelInfer(infer_pb2.ModelInferRequest(model_name="no such model"), metadata=SENT),
        ]
        assert [await trailers(call) for call in calls] == [TOLD] * 5


@pytest.mark.parametrize(("window", "code"), [(1, "OK"), (9999, "INVALID_ARGUMENT")])
async def test_a_streams_id_and_trace_come_back(server: ListeningServer, window: int, code: str):
    first = pb.PredictRequest(model="classes", stream_options=pb.StreamOptions(window=window))
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = VisionStub(channel).PredictStream(iter([first]), metadata=SENT, timeout=PATIENCE_S)
        with contextlib.suppress(grpc.aio.AioRpcError):
            assert [answer.error.code async for answer in call] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]]
        assert (await call.code()).name == code
        assert {key: value for key, value in await call.trailing_metadata() if key in TOLD} == TOLD


async def test_who_sends_no_id_gets_one_and_no_trace(server: ListeningServer):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        told = [await trailers(VisionStub(channel).ListModels(pb.ListModelsRequest())) for _ in range(2)]
    assert [list(each) for each in told] == [["x-request-id"]] * 2
    assert told[0] != told[1]


@pytest.mark.parametrize("bad", [b"x" * 129, "größe".encode()])
async def test_an_id_that_is_none_is_replaced(server: ListeningServer, bad: bytes):
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
        got = (await http.get("/v2", headers={"x-request-id": bad})).headers["x-request-id"]
    assert is_valid(got)
    assert got.encode() != bad


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/v2", None, 200), ("/v2/models/none", None, 404), ("/none", None, 404), ("/v2", "evil.example", 400)],
)
async def test_http_sends_them_back_whatever_the_answer(
    server: ListeningServer, path: str, host: str | None, status: int
):
    headers = dict(SENT) | ({"host": host} if host else {})
    async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
        answer = await http.get(path, headers=headers)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in TOLD} == TOLD


async def test_an_internal_error_is_told_under_the_callers_own_id(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(_: object) -> None:
        raise ModelRunError("the graph is broken")

    swap_session(monkeypatch, "classes", lambda session: FaultySession(session, fail))
    async with (
        running_server(repository, canary_interval_s=0) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        with carrying(request_id="order 66"), pytest.raises(ServerFaultError) as caught:
            await client.predict("classes", photos[0])
    assert str(caught.value) == "internal error, request order 66"
    assert caught.value.request_id == "order 66"
    assert "internal error, request order 66" in caplog.text


def test_a_span_of_our_own_takes_the_callers_place():
    ours = TraceContext("a1" * 16, "c3" * 8, 1, parent_id="b2" * 8)
    asked: list[TraceContext | None] = []

    def begin(caller: TraceContext | None) -> TraceContext:
        asked.append(caller)
        return ours

    scope = {"type": "http", "headers": [(b"traceparent", PARENT.encode())]}
    Arrivals(begin).http(scope)
    assert asked[0] is not None
    assert asked[0].span_id == "b2" * 8
    assert current_arrival().trace is ours


@pytest.mark.parametrize(
    ("path", "api"),
    [("/ocella.v1.Vision/Predict", "grpc"), ("/inference.GRPCInferenceService/ModelInfer", "oip")],
)
def test_a_path_of_grpc_names_its_api(path: str, api: str):
    assert api_of(path) == api
