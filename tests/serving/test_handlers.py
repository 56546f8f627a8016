"""Bytes that are no message, sent to every method of a running server."""

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from protos.ocella.v1 import vision_pb2 as pb
from serving.app import ListeningServer
from tests.serving.servers import PATIENCE_S

GARBAGE = b"\xff\xff\xff"


@pytest.mark.parametrize("method", ["Predict", "ListModels", "DescribeModel"])
async def test_bytes_that_are_no_message_are_an_invalid_request_and_counted(
    server: ListeningServer, caplog: pytest.LogCaptureFixture, method: str
):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/ocella.v1.Vision/{method}")(GARBAGE, timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"the request must be a protobuf message {method}Request, its bytes are none"
    info = ErrorInfo()
    trailers = dict(tuple(caught.value.trailing_metadata()))
    assert Status.FromString(trailers["grpc-status-details-bin"]).details[0].Unpack(info)
    assert info.reason == "InvalidRequestError"
    labels = {"model": "", "version": "", "method": method, "code": "INVALID_ARGUMENT"}
    assert server.metrics.registry.get_sample_value("ocella_requests_total", labels) == 1
    assert "Traceback" not in caplog.text


async def test_bytes_that_are_no_message_are_answered_in_band_and_the_stream_goes_on(
    server: ListeningServer, photos: list[bytes]
):
    good = pb.PredictRequest(model="classes", image=photos[0]).SerializeToString()
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.stream_stream("/ocella.v1.Vision/PredictStream")(iter([GARBAGE, good]), timeout=PATIENCE_S)
        first, second = [pb.PredictResponse.FromString(answer) async for answer in call]
    assert first.error.reason == "InvalidRequestError"
    assert second.WhichOneof("outcome") == "classification"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("grpc.health.v1.Health/Check", "HealthCheckRequest"),
        ("grpc.health.v1.Health/Watch", "HealthCheckRequest"),
        ("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "ServerReflectionRequest"),
    ],
)
async def test_bytes_that_are_no_message_of_a_standard_service_are_refused_without_a_traceback(
    server: ListeningServer, caplog: pytest.LogCaptureFixture, path: str, kind: str
):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        call = channel.stream_stream(f"/{path}")(iter([GARBAGE]), timeout=PATIENCE_S)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == f"the request must be a protobuf message {kind}, its bytes are none"
    assert not caplog.records


async def test_health_lists_no_names_and_leaves_no_traceback(server: ListeningServer, caplog: pytest.LogCaptureFixture):
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/grpc.health.v1.Health/List")(b"", timeout=PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert not caplog.records
