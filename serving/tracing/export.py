"""Where spans go: an OTLP receiver over gRPC, as told by ``--otlp-endpoint`` or OpenTelemetry's own variables."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from serving.settings import StartError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from serving.tracing.spans import Tracing

SERVICE = "ocella"
END_S = 3.0
_log = logging.getLogger(__name__)


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
        _end(provider)


def _end(provider: TracerProvider) -> None:
    """Send what waits; the exporter alone would try a receiver that does not answer for as long as it takes."""
    ending = threading.Thread(target=provider.shutdown, name="spans-end", daemon=True)
    ending.start()
    ending.join(END_S)
    if ending.is_alive():
        _log.warning("the receiver of traces must answer within %g s of the end, the last spans are lost", END_S)
