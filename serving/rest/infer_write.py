"""A result of the Open Inference Protocol for HTTP: JSON, and behind it what is wanted as binary data."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipelines.errors import InvalidRequestError, NotAllowedError
from pipelines.types import AnyArray
from serving.oip.control import NO_SHARED_MEMORY
from serving.oip.inference import InferResult
from serving.oip.requests import REGION, REGION_OFFSET, REGION_SIZE, InferRequest
from serving.oip.shared_memory import SharedMemory
from serving.oip.tensors import BYTES, Tensor, to_raw
from serving.rest.infer_read import BINARY_SIZE, HEADER_LENGTH, BinaryOutputs
from serving.rest.reply import BINARY, JSON, Reply, to_bytes

# Outputs of the pipeline whose BYTES are PNG files: in JSON they are base64, as images are on their way in.
_PNG_OUTPUTS = frozenset({"masks", "object_masks"})
# Elements written in one go: a run of JSON holds the interpreter, between two others get their turn (some 5 ms).
_RUN = 16_384


def write_infer(
    result: InferResult, request: InferRequest, binary: BinaryOutputs, memory: SharedMemory | None
) -> Reply:
    """A result as a reply.

    Raises InvalidRequestError where an output has no form in JSON or does not fit into its shared memory.
    """
    placements = {output.name: output.placement for output in request.outputs if output.placement}
    outputs: list[bytes] = []
    contents: list[bytes | memoryview] = []
    for tensor in result.outputs:
        about: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.array.shape)}
        if placement := placements.get(tensor.name):
            if memory is None:
                raise NotAllowedError(NO_SHARED_MEMORY)
            raw = to_raw(tensor)
            memory.write(placement, raw)
            about["parameters"] = {REGION: placement.region, REGION_SIZE: len(raw), REGION_OFFSET: placement.offset}
            outputs.append(to_bytes(about))
        elif tensor.name in binary:
            raw = to_raw(tensor)
            contents.append(raw)
            outputs.append(to_bytes(about | {"parameters": {BINARY_SIZE: len(raw)}}))
        else:
            is_png = request.is_image and tensor.name in _PNG_OUTPUTS
            outputs.append(b'%b,"data":[%b]}' % (to_bytes(about)[:-1], b",".join(_data(tensor, is_png=is_png))))
    about = {"model_name": result.model, "model_version": str(result.version)}
    if request.id:
        about["id"] = request.id
    header = b'%b,"outputs":[%b]}' % (to_bytes(about)[:-1], b",".join(outputs))
    if not contents:
        return Reply((header,), JSON)
    return Reply((header, *contents), BINARY, headers=((HEADER_LENGTH, str(len(header))),))


def is_large(result: InferResult, binary: BinaryOutputs) -> bool:
    """Whether writing takes so long that it must not be done on the loop."""
    return any(
        tensor.array.size > _RUN // 8 or (tensor.datatype == BYTES and sum(map(len, tensor.array.ravel())) > 8 * _RUN)
        for tensor in result.outputs
        if tensor.name not in binary or tensor.datatype == BYTES
    )


def _data(tensor: Tensor, *, is_png: bool) -> Iterable[bytes]:
    """The elements as JSON, row by row, without brackets."""
    flat = tensor.array.reshape(-1)
    for start in range(0, len(flat), _RUN):
        run = flat[start : start + _RUN]
        values = _texts(tensor.name, run, is_png=is_png) if tensor.datatype == BYTES else run.tolist()
        try:
            yield json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[1:-1].encode()
        except ValueError as error:
            raise InvalidRequestError(
                f"output {tensor.name!r} holds NaN or infinity, which JSON cannot say: ask for it as binary_data"
            ) from error


def _texts(name: str, items: AnyArray, *, is_png: bool) -> list[str]:
    if is_png:
        return [base64.b64encode(item).decode() for item in items]
    try:
        return [item.decode() for item in np.ravel(items)]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"output {name!r} holds bytes that are no text, which JSON cannot say: ask for it as binary_data"
        ) from error
