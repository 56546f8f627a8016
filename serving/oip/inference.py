"""Answers the Open Inference Protocol on the data plane: tensors go to the graph, images through the pipeline."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from pipelines.errors import (
    InvalidRequestError,
    ModelRunError,
    RunTerminatedError,
)
from pipelines.types import AnyArray
from serving.catalog import Catalog
from serving.dataplane import DataPlane, InferAnswer, InferCall, PredictCall, Priority
from serving.many import predict_all
from serving.oip.classify import best_entries
from serving.oip.image_outputs import check_outputs, image_row, stack_rows
from serving.oip.requests import IMAGE, InferRequest, RequestedOutput
from serving.oip.tensors import BYTES, NUMPY_DTYPES, WIRE_DTYPES, Tensor, decode_strings, encode_strings
from serving.served import ServedModel

_DATATYPES = {dtype: name for name, dtype in NUMPY_DTYPES.items() if name != "BF16"}


@dataclass(frozen=True, eq=False, slots=True)
class InferResult:
    """What a request is answered: the model version that answered, and the outputs in the order of the request."""

    model: str
    version: int
    outputs: tuple[Tensor, ...]


class Inference:
    """Runs requests; it belongs to the data plane's event loop.

    Attributes:
        max_images: encoded images of one request.
    """

    def __init__(self, plane: DataPlane, catalog: Catalog, *, max_images: int) -> None:
        """``max_images``: of one request."""
        self.max_images = max_images
        self._plane = plane
        self._catalog = catalog

    async def infer(self, request: InferRequest, *, deadline: float, client: str = "") -> InferResult:
        """Answer one request; ``deadline`` is the transport's, in monotonic seconds, and ``client`` who asks.

        Raises whatever ``DataPlane.infer`` and ``DataPlane.predict`` raise.
        """
        served = self._catalog.find(request.model, request.version)
        if request.urgency.timeout_s < deadline:  # the comparison spares a look at the clock where neither is set
            deadline = min(deadline, time.monotonic() + request.urgency.timeout_s)
        priority = Priority.HIGH if request.urgency.priority == Priority.HIGH else Priority.NORMAL
        if request.is_image:
            return await self._images(request, served, deadline, priority, client)
        return await self._tensors(request, served, deadline, priority, client)

    async def _tensors(
        self, request: InferRequest, served: ServedModel, deadline: float, priority: Priority, client: str
    ) -> InferResult:
        call = InferCall(
            model=served.name,
            version=served.version,
            tensors={tensor.name: _feed(tensor, served) for tensor in request.inputs},
            outputs=tuple([output.name for output in request.outputs]),
            deadline=deadline,
            priority=priority,
            client=client,
        )
        try:
            answer = await self._plane.infer(call)
        except RunTerminatedError:
            raise
        except ModelRunError as error:
            if _has_free_sizes(served):
                # Only the graph knows which sizes it can take where it declares them free.
                raise InvalidRequestError(f"the graph cannot run tensors of these shapes: {error}") from error
            raise
        return InferResult(answer.model, answer.version, _outputs(answer, request.outputs, served))

    async def _images(
        self, request: InferRequest, served: ServedModel, deadline: float, priority: Priority, client: str
    ) -> InferResult:
        names = tuple(output.name for output in request.outputs)
        if any(output.classes for output in request.outputs):
            raise InvalidRequestError(f"classification must be of a graph's outputs, the input is {IMAGE!r}")
        images = _image_list(request.inputs[0], most=self.max_images)
        check_outputs(served.task, names)
        calls = [
            PredictCall(
                model=served.name,
                version=served.version,
                image=image,
                options=request.options,
                deadline=deadline,
                priority=priority,
                client=client,
            )
            for image in images
        ]
        serialize = partial(image_row, names=frozenset(names))
        rows = await predict_all(self._plane, served, calls, serialize)
        if len(rows) == 1:
            return InferResult(served.name, served.version, stack_rows(rows, names))
        outputs = await asyncio.to_thread(stack_rows, rows, names)  # masks of many images are megabytes to copy
        return InferResult(served.name, served.version, outputs)


def _feed(tensor: Tensor, served: ServedModel) -> AnyArray:
    """A tensor as the graph takes it; raises InvalidRequestError where its dtype is not the graph's."""
    spec = served.contract.inputs.get(tensor.name)
    if spec is not None and WIRE_DTYPES.get(spec.dtype) != tensor.datatype:
        wanted = WIRE_DTYPES.get(spec.dtype, spec.dtype)
        raise InvalidRequestError(f"input {tensor.name!r} must be {wanted}, got {tensor.datatype}")
    return decode_strings(tensor) if tensor.datatype == BYTES else tensor.array


def _outputs(answer: InferAnswer, requested: tuple[RequestedOutput, ...], served: ServedModel) -> tuple[Tensor, ...]:
    tensors = {name: _tensor(name, array) for name, array in answer.outputs.items()}
    if not requested:
        return tuple(tensors.values())
    return tuple(
        best_entries(tensors[output.name], output.classes, served.loaded.manifest.labels)
        if output.classes
        else tensors[output.name]
        for output in requested
    )


def _tensor(name: str, array: AnyArray) -> Tensor:
    datatype = _DATATYPES[array.dtype]
    return Tensor(name, datatype, encode_strings(array) if datatype == BYTES else array)


def _has_free_sizes(served: ServedModel) -> bool:
    return any(isinstance(size, str) for spec in served.contract.inputs.values() for size in spec.shape[1:])


def _image_list(tensor: Tensor, *, most: int) -> list[bytes]:
    """The encoded images of a BYTES tensor ``(N,)`` or ``(N, 1)``; raises InvalidRequestError for any other shape."""
    shape = tensor.array.shape
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] != 1):
        raise InvalidRequestError(f"{IMAGE!r} must have shape [N] or [N, 1], one encoded image each, got {list(shape)}")
    if not 1 <= shape[0] <= most:
        raise InvalidRequestError(f"{IMAGE!r} must hold 1 to {most} encoded images, got {shape[0]}")
    return [bytes(item) for item in np.ravel(tensor.array)]
