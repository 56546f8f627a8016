"""What clients of the Open Inference Protocol ask beside inference: plain arguments in, documents out."""

from __future__ import annotations

from serving.oip.documents import Document, is_ready, model_config, model_metadata, server_metadata
from serving.oip.parts import ServiceParts
from serving.oip.requests import read_version
from serving.oip.statistics import model_statistics


def server_is_ready(parts: ServiceParts) -> bool:
    """Whether every model was tried and one answers."""
    return bool(parts.catalog.is_serving(""))


def model_is_ready(parts: ServiceParts, name: str, version: str) -> bool:
    """Whether a model version (empty: any) answers; raises InvalidRequestError where ``version`` is no number."""
    number = read_version(version)
    return not parts.catalog.draining.is_set() and is_ready(parts.catalog.statuses(), name, number)


def describe_server(parts: ServiceParts) -> Document:
    """Name, version and extensions of the server."""
    return server_metadata(shared_memory=parts.memory is not None)


def describe_model(parts: ServiceParts, name: str, version: str) -> Document:
    """The tensors of a model's graph; raises as ``Catalog.find``, and InvalidRequestError."""
    return model_metadata(parts.catalog.find(name, read_version(version)), parts.catalog.statuses())


def configuration(parts: ServiceParts, name: str, version: str) -> Document:
    """How a model version is run; raises as ``Catalog.find``, and InvalidRequestError."""
    return model_config(parts.catalog.find(name, read_version(version)))


def statistics(parts: ServiceParts, name: str, version: str) -> Document:
    """What model versions (empty name: all) have done; raises as ``Catalog.find``, and InvalidRequestError."""
    number = read_version(version)
    if name:
        parts.catalog.find(name, number)  # says why there is none
    models = [
        (status.name, status.version)
        for status in parts.catalog.statuses()
        if status.ready and name in ("", status.name) and number in (0, status.version)
    ]
    return {"model_stats": model_statistics(parts.metrics, models)}
