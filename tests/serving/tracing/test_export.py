"""Spans of a real server process at a real OTLP receiver on loopback."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from serving.client import VisionClient, carrying
from serving.settings import StartError
from serving.tracing.export import tracing_to
from serving.trail import Arrival, Trail
from tests.serving.servers import PATIENCE_S
from tests.serving.test_cli import serving

TRACE, CALLER = "a1" * 16, "b2" * 8


class Receiver(TraceServiceServicer):  # type: ignore[misc]  # generated
    """Keeps what comes.

    Attributes:
        resources: spans with what made them.
        came: set when something has come.
        gate: what each answer waits for.
    """

    def __init__(self) -> None:
        self.resources: list[object] = []
        self.came = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def Export(self, request: otlp.ExportTraceServiceRequest, _: object) -> otlp.ExportTraceServiceResponse:  # noqa: N802
        self.resources += request.resource_spans
        self.came.set()
        self.gate.wait(PATIENCE_S)
        return otlp.ExportTraceServiceResponse()


@contextmanager
def receiving() -> Iterator[tuple[Receiver, str]]:
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver, f"http://127.0.0.1:{port}"
    finally:
        receiver.gate.set()
        server.stop(None).wait()


def test_a_server_process_sends_its_spans_to_an_otlp_receiver(
    repository: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "cats-and-dogs")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    with (
        receiving() as (receiver, endpoint),
        serving("--models", str(repository), "--otlp-endpoint", endpoint) as (process, address),
    ):
        with (
            VisionClient(address, timeout_s=PATIENCE_S) as client,
            carrying(request_id="order 66", traceparent=f"00-{TRACE}-{CALLER}-01"),
        ):
            client.predict("classes", photos[0])
        assert receiver.came.wait(PATIENCE_S)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    spans = [span for one in receiver.resources for scope in one.scope_spans for span in scope.spans]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    (request,) = [span for span in spans if span.kind == span.SPAN_KIND_SERVER]
    assert (request.name, request.parent_span_id.hex()) == ("ocella.v1.Vision/Predict", CALLER)
    stages = [span for span in spans if span is not request]
    assert {span.parent_span_id for span in stages} == {request.span_id}
    assert len(stages) == 6
    for span in stages:
        assert request.start_time_unix_nano <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= request.end_time_unix_nano
    resource = {pair.key: pair.value.string_value for pair in receiver.resources[0].resource.attributes}
    assert resource["service.name"] == "cats-and-dogs"
    assert resource["service.version"]


def test_what_waits_is_sent_when_a_server_stops(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    with receiving() as (receiver, endpoint), tracing_to(endpoint) as tracing:
        trail = Trail(Arrival("grpc", "", "7", tracing.begin(None)), "ListModels")
        trail.end("OK")
        tracing(trail)
    (one,) = receiver.resources
    assert [span.name for scope in one.scope_spans for span in scope.spans] == ["ocella.v1.Vision/ListModels"]
    assert {pair.key: pair.value.string_value for pair in one.resource.attributes}["service.name"] == "ocella"


def test_a_receiver_that_does_not_answer_holds_no_server_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("serving.tracing.export.END_S", 0.01)
    with receiving() as (receiver, endpoint):
        receiver.gate.clear()
        with tracing_to(endpoint) as tracing:
            trail = Trail(Arrival("grpc", "", "7", tracing.begin(None)), "ListModels")
            trail.end("OK")
            tracing(trail)
        assert not receiver.gate.is_set()
    assert "the last spans are lost" in caplog.text


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartError, match=r"install 'ocella\[otel\]'"), tracing_to("http://127.0.0.1:1"):
        pass


def test_a_server_without_an_endpoint_imports_no_opentelemetry(repository: Path):
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from serving.app import listening\n"
        "from serving.settings import Settings\n"
        "async def main():\n"
        f"    async with listening(Settings(models=(Path({str(repository)!r}),), port=0, http_port=0)) as server:\n"
        "        await server.load()\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == "[]\n"
