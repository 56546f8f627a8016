"""Who may call what: the roles of tokens, and the one that each gRPC method asks for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from protos.ocella.v1 import faces_pb2, vision_pb2
from protos.oip import service_pb2


class Role(StrEnum):
    """What a token allows; none includes another, a token may hold several."""

    INFER = "infer"
    """Run models, list and describe them."""
    ADMIN = "admin"
    """Load and unload models, change traces and the log, register shared memory."""
    METRICS = "metrics"
    """Read ``/metrics``."""
    FACES = "faces"
    """Everything on galleries of faces: they hold biometric data."""


class Door(StrEnum):
    """What asks for no role of its own."""

    OPEN = "open"
    """Nobody has to say who it is."""
    ANY_TOKEN = "any token"
    """Whoever has a token, whatever its roles."""


_VISION = vision_pb2.DESCRIPTOR.services_by_name["Vision"]
_FACES = faces_pb2.DESCRIPTOR.services_by_name["Faces"]
_INFERENCE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
# Of the Open Inference Protocol; every other method there is INFER's.
_OPEN_METHODS = frozenset({"ServerLive", "ServerReady"})
_ADMIN_METHODS = frozenset(
    {
        "RepositoryModelLoad",
        "RepositoryModelUnload",
        "SystemSharedMemoryStatus",
        "SystemSharedMemoryRegister",
        "SystemSharedMemoryUnregister",
        "CudaSharedMemoryStatus",
        "CudaSharedMemoryRegister",
        "CudaSharedMemoryUnregister",
        "TraceSetting",
        "LogSettings",
    }
)


def _inference_role(method: str) -> Role | Door:
    if method in _OPEN_METHODS:
        return Door.OPEN
    return Role.ADMIN if method in _ADMIN_METHODS else Role.INFER


ROLE_OF_METHOD: Mapping[str, Role | Door] = {
    **{f"/{_VISION.full_name}/{method.name}": Role.INFER for method in _VISION.methods},
    **{f"/{_FACES.full_name}/{method.name}": Role.FACES for method in _FACES.methods},
    **{f"/{_INFERENCE.full_name}/{method.name}": _inference_role(method.name) for method in _INFERENCE.methods},
    # Probes carry no token. Whoever names a model learns whether it is ready, no probe tells a name.
    **{f"/{_HEALTH.full_name}/{name}": Door.OPEN for name in ("Check", "Watch")},
    f"/{reflection.SERVICE_NAME}/ServerReflectionInfo": Door.ANY_TOKEN,
}


def role_of_method(method: str) -> Role | Door:
    """What a method asks for, by its full path; one that the table does not know asks for ``ADMIN``."""
    return ROLE_OF_METHOD.get(method, Role.ADMIN)
