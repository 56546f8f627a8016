"""The services that the vision clients call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos.ocella.v1.faces_pb2_grpc import FacesStub
from protos.ocella.v1.vision_pb2_grpc import VisionStub

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@dataclass(frozen=True)
class Stubs:
    """Of one channel, blocking or not."""

    vision: VisionStub
    health: health_pb2_grpc.HealthStub
    faces: FacesStub


def vision_stubs(channel: Any) -> Stubs:
    """The stubs of a channel."""
    return Stubs(VisionStub(channel), health_pb2_grpc.HealthStub(channel), FacesStub(channel))
