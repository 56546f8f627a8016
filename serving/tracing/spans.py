"""Requests that have ended as OpenTelemetry spans: one for the request, one below it for each stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from serving.calls import NAMING_PEOPLE
from serving.outbox import Outbox
from serving.security.limits import address_of
from serving.tracing.context import SAMPLED, TraceContext, new_trace
from serving.trail import STAGES, Trail

Attribute: TypeAlias = str | int | float
SCOPE = "ocella"
# A burst of requests waits here for the thread that makes spans of them; beyond it, their spans are not made.
CAPACITY = 4096
GATHER_S = 0.05
CLOSE_S = 5.0
# Most of the waiting comes before an image is decoded (``serving.admission``), so that is where its span is drawn.
_DRAWN = ("queue", "decode", "preprocess", "inference", "postprocess", "serialize")
# Codes of a server's span that are its own fault, and numbers of codes, by OpenTelemetry's conventions for gRPC.
_OUR_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
NUMBERS: Mapping[str, int] = {name: number for number, name in enumerate(_CODES)}
_SERVICES: Mapping[str, str] = {"grpc": "ocella.v1.Vision", "oip": "inference.GRPCInferenceService"}
_FACES = "ocella.v1.Faces"


class OwnIds(IdGenerator):
    """Gives a span the ids that its request was told by before the span was made; it belongs to one thread."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self._trace_id, self._span_id = 0, 0

    def choose(self, place: TraceContext) -> None:
        """Give the next span these ids."""
        self._trace_id, self._span_id = int(place.trace_id, 16), int(place.span_id, 16)

    def generate_span_id(self) -> int:
        """The chosen id, once; then random ones."""
        chosen, self._span_id = self._span_id, 0
        return chosen or self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        """As ``generate_span_id``."""
        chosen, self._trace_id = self._trace_id, 0
        return chosen or self._random.generate_trace_id()


class Tracing:
    """Decides at a request's arrival whether its trace is recorded; a sink of ``Calls`` that makes its spans."""

    def __init__(self, provider: TracerProvider, ids: OwnIds) -> None:
        """``provider`` makes ids by ``ids``; it stays the caller's."""
        self._sampler = provider.sampler
        self._tracer = provider.get_tracer(SCOPE)
        self._ids = ids
        self._outbox: Outbox[Trail] = Outbox(self._make, name="spans", capacity=CAPACITY, gather_s=GATHER_S)

    def begin(self, caller: TraceContext | None) -> TraceContext:
        """The place of a request's span: below the caller's, or the first of a trace."""
        place = new_trace(sampled=True) if caller is None else caller
        parent = None if caller is None else _remote(caller, caller.span_id)
        decision = self._sampler.should_sample(parent, int(place.trace_id, 16), "", SpanKind.SERVER).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        return replace(place, flags=SAMPLED if sampled else 0) if caller is None else caller.child(sampled=sampled)

    def __call__(self, trail: Trail) -> None:
        """Leave a request to the thread; one inside a stream has no spans of its own."""
        if trail.arrival.trace is not None and trail.arrival.trace.sampled and not trail.is_frame:
            self._outbox.put(trail)

    def close(self) -> None:
        """Make the spans of what waits."""
        self._outbox.close(timeout_s=CLOSE_S)

    def _make(self, trails: Sequence[Trail], _: int) -> None:
        for trail in trails:
            self._spans_of(trail)

    def _spans_of(self, trail: Trail) -> None:
        place = trail.arrival.trace
        assert place is not None, "only requests with a place in a trace are left here"
        start = round(trail.began * 1e9)
        end = start + round(trail.total_s * 1e9)
        self._ids.choose(place)
        span = self._tracer.start_span(
            name_of(trail),
            context=_remote(place, place.parent_id) if place.parent_id else Context(),
            kind=SpanKind.SERVER,
            attributes=dict(attributes_of(trail)),
            start_time=start,
        )
        if trail.images <= 1 and trail.frames is None:  # the stages of several images overlap in time
            self._stages(span, trail, start, end)
        if trail.code in _OUR_FAULT:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=end)

    def _stages(self, span: Span, trail: Trail, start: int, end: int) -> None:
        """One span after the other: what is known of each is how long it took."""
        below = set_span_in_context(span, Context())
        spent = dict(zip(STAGES, trail.stages, strict=False))  # none, or all
        for stage in _DRAWN:
            if seconds := spent.get(stage, 0.0):
                stop = min(end, start + round(seconds * 1e9))
                self._tracer.start_span(stage, context=below, start_time=start).end(end_time=stop)
                start = stop


def name_of(trail: Trail) -> str:
    """The span's name, of which there are few: gRPC's service and method, or HTTP's verb and route."""
    return trail.arrival.route or f"{_service(trail)}/{trail.method}"


def attributes_of(trail: Trail) -> Iterator[tuple[str, Attribute]]:
    """What a request's span says, by OpenTelemetry's conventions where there is one; no words of an error."""
    arrival = trail.arrival
    if arrival.route:
        verb, _, route = arrival.route.partition(" ")
        yield "http.request.method", verb
        yield "http.route", route
        if trail.failure is not None or trail.code == "OK":  # else the client left
            yield "http.response.status_code", trail.failure.status.http if trail.failure else 200
    else:
        yield "rpc.system", "grpc"
        yield "rpc.service", _service(trail)
        yield "rpc.method", trail.method
        yield "rpc.grpc.status_code", NUMBERS[trail.code]
    if arrival.peer:
        yield "client.address", address_of(arrival.peer)
    if arrival.caller:
        yield "enduser.id", arrival.caller
    if trail.failure is not None:
        yield "error.type", trail.failure.reason
    yield "ocella.request_id", arrival.request_id
    yield "ocella.code", trail.code
    yield "ocella.bytes_in", trail.bytes_in
    if trail.version:  # else no such model is known, and names of a client's own making are many
        yield "ocella.model", trail.model
        yield "ocella.version", int(trail.version)
    if trail.images:
        yield "ocella.images", trail.images
    if trail.image_hw:
        yield "ocella.image.height", trail.image_hw[0]
        yield "ocella.image.width", trail.image_hw[1]
    if trail.images > 1 or trail.frames is not None:
        yield from ((f"ocella.{stage}_s", seconds) for stage, seconds in zip(STAGES, trail.stages, strict=False))
    if trail.frames is not None:
        yield from ((f"ocella.frames.{code.lower()}", count) for code, count in trail.frames.codes.items())
        yield "ocella.frames.dropped", trail.frames.dropped


def _service(trail: Trail) -> str:
    return _FACES if trail.method in NAMING_PEOPLE else _SERVICES.get(trail.arrival.api, SCOPE)


def _remote(place: TraceContext, span_id: str) -> Context:
    """A span of another process as the parent of what is made in this context."""
    state = TraceState.from_header([place.state]) if place.state else None
    flags = TraceFlags(place.flags)
    context = SpanContext(
        int(place.trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags, trace_state=state
    )
    return set_span_in_context(NonRecordingSpan(context), Context())
