"""What OpenTelemetry's own environment variables say about where traces go."""

from __future__ import annotations

from collections.abc import Mapping

# In the order in which they count; see the SDK's and the exporter's environment variables in OpenTelemetry's
# specification.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def standard_endpoint(environment: Mapping[str, str]) -> str | None:
    """The receiver of traces; ``None`` where none is named, or where the SDK or its exporter of traces is off."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return None
    return next((environment[name] for name in ENDPOINTS if environment.get(name)), None)
