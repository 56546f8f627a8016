"""The spans of requests over a real server, in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from pipelines.errors import OcellaError
from serving.client import AsyncVisionClient, carrying
from serving.tracing.context import TraceContext
from serving.tracing.spans import NUMBERS, OwnIds, Tracing, attributes_of, name_of
from serving.trail import STAGES, Arrival, Trail
from tests.serving.servers import PATIENCE_S
from tests.serving.trails import recording_server

TRACE, CALLER = "a1" * 16, "b2" * 8
PARENT = f"00-{TRACE}-{CALLER}-01"


class Spans:
    """Finished spans, by name; read after the server's end.

    Attributes:
        by_name: each name's, in the order in which they ended.
        stages: names of the spans below a request's, in that order.
    """

    def __init__(self, finished: tuple[ReadableSpan, ...]) -> None:
        self.by_name: dict[str, list[ReadableSpan]] = {}
        for span in finished:
            self.by_name.setdefault(span.name, []).append(span)
        self.requests = [span for span in finished if span.kind is SpanKind.SERVER]
        self.stages = [span for span in finished if span.kind is not SpanKind.SERVER]


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of a server with an OTLP endpoint go in this test."""
    return exporting(monkeypatch, ParentBased(ALWAYS_ON))


def exporting(monkeypatch: pytest.MonkeyPatch, sampler: Sampler) -> InMemorySpanExporter:
    exporter, ids = InMemorySpanExporter(), OwnIds()
    provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    @contextmanager
    def tracing_to(_: str) -> Iterator[Tracing]:
        tracing = Tracing(provider, ids)
        try:
            yield tracing
        finally:
            tracing.close()

    monkeypatch.setattr("serving.core.tracing_to", tracing_to)
    return exporter


def tracing_server(repository: Path):
    return recording_server(repository, otlp_endpoint="http://in.memory")


async def test_a_request_is_a_span_below_the_callers_with_one_for_each_stage(
    repository: Path, photos: list[bytes], exporter: InMemorySpanExporter
):
    async with (
        tracing_server(repository) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        with carrying(request_id="order 66", traceparent=PARENT, tracestate="shop=1"):
            await client.predict("classes", photos[0])
    spans = Spans(exporter.get_finished_spans())
    (request,) = spans.requests
    assert request.name == "ocella.v1.Vision/Predict"
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == CALLER
    assert request.parent.is_remote
    assert request.context.trace_state.to_header() == "shop=1"
    assert f"{request.context.span_id:016x}" == trails[0].arrival.trace.span_id
    assert [span.name for span in spans.stages] == [
        "queue",
        "decode",
        "preprocess",
        "inference",
        "postprocess",
        "serialize",
    ]
    assert {span.parent.span_id for span in spans.stages} == {request.context.span_id}
    assert {span.context.trace_id for span in spans.stages} == {request.context.trace_id}
    assert request.status.status_code is StatusCode.UNSET


async def test_the_times_of_stages_lie_inside_their_requests_one_after_the_other(
    repository: Path, photos: list[bytes], exporter: InMemorySpanExporter
):
    async with (
        tracing_server(repository) as (server, trails),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        for image in photos[:4]:
            await client.predict("things", image)
    spans = Spans(exporter.get_finished_spans())
    assert len(spans.requests) == 4
    for request, trail in zip(spans.requests, trails, strict=True):
        own = [span for span in spans.stages if span.parent.span_id == request.context.span_id]
        assert len(own) == len(STAGES)
        assert request.start_time <= own[0].start_time
        assert own[-1].end_time <= request.end_time
        for before, after in pairwise(own):
            assert before.start_time <= before.end_time == after.start_time
        spent = dict(zip(STAGES, trail.stages, strict=True))
        for span in own:
            # A clock in nanoseconds as a float of seconds since 1970 has steps of a quarter of a microsecond.
            assert (span.end_time - span.start_time) / 1e9 == pytest.approx(spent[span.name], abs=1e-6)


async def test_a_request_says_what_it_was_by_the_conventions(
    repository: Path, photos: list[bytes], exporter: InMemorySpanExporter
):
    async with (
        tracing_server(repository) as (server, _),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        with carrying(request_id="order 66"):
            await client.predict("classes", photos[0])
            with pytest.raises(OcellaError):
                await client.predict("no such model", photos[0])
        async with httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http:
            assert (await http.post("/v1/models/classes:predict", content=b"bad")).status_code == 400
    good, unknown, bad = (dict(span.attributes) for span in Spans(exporter.get_finished_spans()).requests)
    assert good == {
        "rpc.system": "grpc",
        "rpc.service": "ocella.v1.Vision",
        "rpc.method": "Predict",
        "rpc.grpc.status_code": 0,
        "client.address": "127.0.0.1",
        "ocella.request_id": "order 66",
        "ocella.code": "OK",
        "ocella.bytes_in": len(photos[0]),
        "ocella.model": "classes",
        "ocella.version": 1,
        "ocella.images": 1,
        "ocella.image.height": 200,
        "ocella.image.width": 300,
    }
    assert (unknown["rpc.grpc.status_code"], unknown["error.type"]) == (5, "UnknownModelError")
    assert "ocella.model" not in unknown
    assert (bad["http.request.method"], bad["http.route"]) == ("POST", "/v1/models/{name}:predict")
    assert (bad["http.response.status_code"], bad["ocella.code"]) == (400, "INVALID_ARGUMENT")


async def test_a_stream_is_one_span_that_counts_its_requests(
    repository: Path, photos: list[bytes], exporter: InMemorySpanExporter
):
    async with (
        tracing_server(repository) as (server, _),
        AsyncVisionClient(server.grpc_address, timeout_s=PATIENCE_S) as client,
    ):
        assert len([each async for each in client.predict_stream("classes", [photos[0], b"bad", photos[1]])]) == 3
    (span,) = exporter.get_finished_spans()
    assert span.name == "ocella.v1.Vision/PredictStream"
    assert (span.attributes["ocella.frames.ok"], span.attributes["ocella.frames.invalid_argument"]) == (2, 1)
    assert span.attributes["ocella.inference_s"] > 0


async def test_who_sends_no_trace_begins_one_that_the_answer_names(repository: Path, exporter: InMemorySpanExporter):
    async with (
        tracing_server(repository) as (server, _),
        httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http,
    ):
        told = (await http.get("/v1/models")).headers["traceparent"]
    (span,) = exporter.get_finished_spans()
    assert span.parent is None
    assert told == f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert span.name == "GET /v1/models"


@pytest.mark.parametrize(
    ("sampler", "parent", "sampled"),
    [
        (ParentBased(ALWAYS_ON), PARENT[:-1] + "0", False),
        (ParentBased(ALWAYS_OFF), PARENT, True),
        (ParentBased(ALWAYS_OFF), None, False),
    ],
)
async def test_what_is_not_sampled_makes_no_span_and_says_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch, sampler: Sampler, parent: str | None, sampled: bool
):
    exporter = exporting(monkeypatch, sampler)
    async with (
        tracing_server(repository) as (server, _),
        httpx.AsyncClient(base_url=f"http://{server.http_address}", trust_env=False) as http,
    ):
        answer = await http.get("/v1/models", headers={"traceparent": parent} if parent else {})
    assert answer.headers["traceparent"].endswith("-01" if sampled else "-00")
    assert len(exporter.get_finished_spans()) == sampled


@pytest.mark.parametrize(
    ("code", "status"),
    [("INTERNAL", StatusCode.ERROR), ("UNAVAILABLE", StatusCode.ERROR), ("NOT_FOUND", StatusCode.UNSET)],
)
def test_only_a_fault_of_the_servers_own_makes_its_span_an_error(code: str, status: StatusCode):
    exporter, ids = InMemorySpanExporter(), OwnIds()
    provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider, ids)
    trail = Trail(Arrival("oip", "", "7", tracing.begin(None)), "ModelInfer")
    trail.end(code)
    tracing(trail)
    tracing.close()
    assert [span.status.status_code for span in exporter.get_finished_spans()] == [status]


def test_the_stages_of_several_images_overlap_and_stand_as_sums():
    trail = Trail(Arrival("oip", "", "7", TraceContext(TRACE, CALLER, 1)), "ModelInfer", "cats", "1")
    for _ in range(2):
        trail.answered((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (10, 20))
    trail.end("OK")
    said = dict(attributes_of(trail))
    assert (said["ocella.images"], said["ocella.inference_s"]) == (2, 8.0)


def test_a_method_of_faces_is_of_its_own_service():
    assert name_of(Trail(Arrival("grpc", "", "7"), "Enroll")) == "ocella.v1.Faces/Enroll"


def test_codes_have_grpcs_numbers():
    assert {code.name: code.value[0] for code in grpc.StatusCode} == NUMBERS
