"""Requests as the bytes that travel, made once before any is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import InvalidRequestError
from pipelines.types import AnyArray
from protos.oip import infer_pb2
from serving.client.wire import write_request
from serving.oip.tensors import WIRE_DTYPES

PREDICT = "/ocella.v1.Vision/Predict"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


@dataclass(frozen=True)
class Messages:
    """What a round sends.

    Attributes:
        method: full gRPC name, ``/service/method``.
        bodies: encoded requests, sent in turns.
    """

    method: str
    bodies: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not self.bodies:
            raise InvalidRequestError("a round must have a request to send, it has none")


def image_messages(model: str, images: Sequence[bytes], *, version: int = 0) -> Messages:
    """Predict requests for encoded images."""
    bodies = [write_request(model, image, {}, version=version).SerializeToString() for image in images]
    return Messages(PREDICT, tuple(bodies))


def tensor_messages(model: str, name: str, row: AnyArray, *, version: int = 0) -> Messages:
    """A ModelInfer request of one row for the graph's input ``name``; ``row`` is without batch axis.

    Raises InvalidRequestError where the row does not hold numbers.
    """
    datatype = WIRE_DTYPES.get(row.dtype.name)
    if datatype is None or row.dtype == object:
        raise InvalidRequestError(f"input {name!r} must hold numbers to be sent, it holds {row.dtype}")
    request = infer_pb2.ModelInferRequest(model_name=model, model_version=str(version) if version else "")
    request.inputs.add(name=name, datatype=datatype, shape=(1, *row.shape))
    request.raw_input_contents.append(row.tobytes())
    return Messages(MODEL_INFER, (request.SerializeToString(),))
