"""Where spans go: an OTLP receiver over gRPC, as told by ``--otlp-endpoint`` or OpenTelemetry's own variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from serving.settings import StartError

if TYPE_CHECKING:
    from serving.tracing.spans import Tracing

SERVICE = "ocella"


@contextmanager
def tracing_to(endpoint: str) -> Iterator[Tracing]:
    """Send spans to ``endpoint`` until the block is left, which sends what waits.

    Headers, timeouts, certificates, sampling, the service's name and the sizes of batches are those of OpenTelemetry's
    environment variables. Raises StartError where the packages are missing.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise StartError("install 'ocella[otel]' to send traces to an OTLP endpoint") from error
    from serving.tracing.spans import OwnIds, Tracing

    ids = OwnIds()
    resource = Resource.create({"service.version": version("ocella")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):  # the environment does not say
        resource = resource.merge(Resource({"service.name": SERVICE}))
    provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    tracing = Tracing(provider, ids)
    try:
        yield tracing
    finally:
        tracing.close()
        provider.shutdown()
