"""A request of the Open Inference Protocol from HTTP: JSON, with tensors in it or as binary data behind it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pipelines.errors import InvalidRequestError, NotAllowedError, NotOfferedError
from serving.oip.control import NO_SHARED_MEMORY
from serving.oip.requests import (
    IMAGE,
    InferRequest,
    Parameters,
    RequestedOutput,
    read_output,
    read_parameters,
    read_placement,
    read_version,
)
from serving.oip.shared_memory import SharedMemory
from serving.oip.tensors import BYTES, MAX_ELEMENTS, Tensor, from_raw, from_values
from serving.rest.jsons import kind_of, read_object, refuse_kind, take

HEADER_LENGTH = "inference-header-content-length"
BINARY_SIZE = "binary_data_size"
_BINARY, _ALL_BINARY = "binary_data", "binary_data_output"
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class BinaryOutputs:
    """Which outputs go as binary data: those ``named`` true, and the others where ``rest`` is."""

    named: dict[str, bool]
    rest: bool

    def __contains__(self, name: str) -> bool:
        return self.named.get(name, self.rest)


def read_infer(
    body: bytes,
    header_length: str,
    model: str,
    version: str,
    memory: SharedMemory | None,
    *,
    max_elements: int = MAX_ELEMENTS,
) -> tuple[InferRequest, BinaryOutputs]:
    """A body as a request, and how its outputs are to travel.

    Args:
        body: JSON, then the binary data of its inputs.
        header_length: of the JSON, as the request's header says; empty where all is JSON.
        model: of the path.
        version: of the path.
        memory: regions of shared memory, ``None`` where they are not allowed.
        max_elements: of one tensor.

    Raises InvalidRequestError, RequestTooLargeError, NotOfferedError, NotAllowedError.
    """
    number = read_version(version)
    header, binary = _split(body, header_length)
    document = read_object(header, what="the inference request")
    parameters = _parameters(document, "the request")
    urgency, options = read_parameters(parameters)
    inputs = _objects(document, "inputs")
    outputs = [_output(each) for each in _objects(document, "outputs")]
    request = InferRequest(
        model=model,
        version=number,
        id=take(document, "id", str, what="the request"),
        inputs=_inputs(inputs, binary, memory, max_elements),
        outputs=tuple(output for output, _ in outputs),
        urgency=urgency,
        options=options,
    )
    named = {output.name: is_binary for output, is_binary in outputs if is_binary is not None}
    return request, BinaryOutputs(named, _flag(_ALL_BINARY, parameters) or False)


def _split(body: bytes, header_length: str) -> tuple[memoryview, memoryview]:
    """The JSON and what follows it."""
    view = memoryview(body)
    if not header_length:
        return view, view[:0]
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 18):
        raise InvalidRequestError(f"{HEADER_LENGTH} must be a whole number, got {header_length[:32]!r}")
    length = int(header_length)
    if not length:
        raise NotOfferedError(
            f"{HEADER_LENGTH} 0 is not offered: send a lone image to /v1/models/NAME:predict, tensors with their JSON"
        )
    if length > len(view):
        raise InvalidRequestError(f"{HEADER_LENGTH} must be at most the body's {len(view)} bytes, got {length}")
    return view[:length], view[length:]


def _inputs(
    given: Sequence[dict[str, Any]], binary: memoryview, memory: SharedMemory | None, most: int
) -> tuple[Tensor, ...]:
    is_lone = len(given) == 1
    tensors = []
    for each in given:
        name = _name(each, "an input")
        datatype, shape = take(each, "datatype", str, what=name), take(each, "shape", list, what=name)
        if any(type(size) is not int for size in shape):
            raise InvalidRequestError(f"shape of {name!r} must be whole numbers, got {shape!r:.80}")
        parameters = _parameters(each, name)
        placement = read_placement(name, parameters)
        has_data = each.get("data") is not None
        if has_data + (placement is not None) + (BINARY_SIZE in parameters) != 1:
            raise InvalidRequestError(
                f"{name!r} must have one of data, {BINARY_SIZE} and a place in shared memory, it has none or several"
            )
        if placement:
            if memory is None:
                raise NotAllowedError(NO_SHARED_MEMORY)
            tensors.append(from_raw(name, datatype, shape, memory.read(placement), most=most))
        elif has_data:
            values = _values(name, each["data"], shape, is_image=is_lone and name == IMAGE and datatype == BYTES)
            tensors.append(from_values(name, datatype, shape, values, most=most))
        else:
            size = parameters[BINARY_SIZE]
            if type(size) is not int or not 0 <= size <= len(binary):
                raise InvalidRequestError(
                    f"{BINARY_SIZE} of {name!r} must be at most the {len(binary)} bytes left, got {size!r:.40}"
                )
            tensors.append(from_raw(name, datatype, shape, binary[:size], most=most))
            binary = binary[size:]
    if len(binary):
        raise InvalidRequestError(f"the body must end with the last input's binary data, {len(binary)} bytes follow")
    return tuple(tensors)


def _values(name: str, data: Any, shape: Sequence[int], *, is_image: bool) -> list[Any]:
    """The elements of ``data``, flat or nested as ``shape`` says, in row-major order; an image's bytes from base64."""
    if type(data) is not list:
        refuse_kind(f"data of {name!r}", list, data)
    values = data
    if values and type(values[0]) is list:
        if len(values) != (shape[0] if shape else 1):
            raise InvalidRequestError(f"data of {name!r} must be flat or nested as {shape}, got {len(values)} rows")
        for size in shape[1:]:
            if any(type(row) is not list or len(row) != size for row in values):
                raise InvalidRequestError(f"data of {name!r} must be flat or nested as its shape {shape} says")
            values = list(chain.from_iterable(values))
    return [_from_base64(name, value) for value in values] if is_image else values


def _from_base64(name: str, value: Any) -> bytes:
    if type(value) is not str:
        refuse_kind(f"an element of {name!r}", str, value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError(f"an image in JSON must be base64: {error}") from error


def _output(given: dict[str, Any]) -> tuple[RequestedOutput, bool | None]:
    """A requested output, and whether as binary data, where it says."""
    name = _name(given, "an output")
    parameters = _parameters(given, name)
    return read_output(name, parameters), _flag(_BINARY, parameters)


def _name(given: dict[str, Any], what: str) -> str:
    name = given.get("name")
    if type(name) is not str:
        refuse_kind(f"name of {what}", str, name)
    return name


def _flag(name: str, parameters: Parameters) -> bool | None:
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        refuse_kind(name, bool, value)
    return value


def _objects(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = take(document, name, list, what="the request")
    for value in values:
        if type(value) is not dict:
            refuse_kind(f"each of {name}", dict, value)
    return values


def _parameters(given: dict[str, Any], what: str) -> Parameters:
    parameters: dict[str, Any] = take(given, "parameters", dict, what=what)
    for name, value in parameters.items():
        if type(value) not in _SCALARS:
            raise InvalidRequestError(f"parameter {name[:64]!r} of {what} must be a single value, got {kind_of(value)}")
    return parameters
