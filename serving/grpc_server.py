"""The gRPC server: its services, limits and port."""

from __future__ import annotations

from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from serving.calls import Calls
from serving.faces_service import Faces
from serving.handlers import (
    FACES_SERVICE,
    INFERENCE_SERVICE,
    SERVICE,
    faces_handlers,
    health_handlers,
    inference_handlers,
    reflection_handlers,
    vision_handlers,
)
from serving.health import Health
from serving.oip.methods import METHODS
from serving.oip.service import InferenceService
from serving.ports import bind
from serving.security.grpc_gate import GrpcGate
from serving.security.parts import SecurityParts
from serving.settings import Settings, StartError
from serving.vision import Vision

# Around the image: names, options, framing.
ENVELOPE_BYTES = 64 * 1024
# Our clients ping every 30 s, also while nothing is asked; a server that is not told hangs up on that.
KEEPALIVE_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
# Of a call's metadata; left alone, gRPC refuses by lot what lies between half of it and all of it.
MAX_METADATA_BYTES = 16 * 1024
# So long may a connection take until it is encrypted and set up; gRPC's own limit is two minutes.
HANDSHAKE_S = 10
SERVICES = (
    SERVICE,
    FACES_SERVICE,
    INFERENCE_SERVICE,
    health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
    reflection.SERVICE_NAME,
)


def build_grpc_server(
    settings: Settings,
    vision: Vision,
    faces: Faces,
    inference: InferenceService,
    health: Health,
    *,
    calls: Calls,
    security: SecurityParts,
) -> tuple[Any, str]:
    """Build the server and bind its port; returns it, not yet started, and its address.

    Raises StartError where the port is busy.
    """
    shared = settings.member_of is not None
    if not shared:
        bind(settings.host, settings.port, protocol="gRPC").close()  # where it is busy, gRPC itself says so in a page
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", settings.max_image_bytes + ENVELOPE_BYTES),
            ("grpc.max_send_message_length", -1),  # answers are bounded by the pixels of their image
            *KEEPALIVE_OPTIONS,
            ("grpc.max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
            ("grpc.max_allowed_incoming_connections", settings.max_grpc_connections),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
            ("grpc.so_reuseport", int(shared)),  # unasked, a second server would take half of the first one's calls
        )
    )
    gate = GrpcGate(server, calls, access=security.access, streams=security.streams)
    gate.add_generic_rpc_handlers(
        (vision_handlers(vision), faces_handlers(faces), inference_handlers(inference, METHODS))
    )
    servicer = reflection.aio.ReflectionServicer(SERVICES)  # type: ignore[attr-defined]  # listed in its `__all__`
    gate.add_generic_rpc_handlers((health_handlers(health), reflection_handlers(servicer)))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        if security.tls:
            port = server.add_secure_port(f"{host}:{settings.port}", security.tls.grpc_credentials())
        else:
            port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as error:
        raise StartError(f"port {settings.port} of {settings.host} must be free for gRPC: {_reason(error)}") from error
    return server, f"{host}:{port}"


def _reason(error: RuntimeError) -> str:
    """The first line of gRPC's words, which go on for a page."""
    return str(error).partition("\n")[0][:200]
