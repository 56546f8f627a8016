"""Messages of ModelInfer to requests and results to messages: no message of ``inference`` travels past this folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipelines.errors import InvalidRequestError, NotAllowedError
from protos.oip import infer_pb2 as pb
from serving.oip.control import NO_SHARED_MEMORY
from serving.oip.inference import InferResult
from serving.oip.requests import (
    FINAL_RESPONSE,
    REGION,
    REGION_OFFSET,
    REGION_SIZE,
    InferRequest,
    Parameters,
    read_output,
    read_parameters,
    read_placement,
    read_version,
)
from serving.oip.shared_memory import SharedMemory
from serving.oip.tensors import (
    BYTES,
    MAX_ELEMENTS,
    NUMPY_DTYPES,
    Tensor,
    count_of,
    from_raw,
    from_values,
    to_raw,
)

# Tags on the wire of ``id`` and ``raw_output_contents``, fields 3 and 6, length-delimited.
_ID_TAG = bytes([3 << 3 | 2])
_RAW_OUTPUT_TAG = bytes([6 << 3 | 2])
_CONTENTS_FIELD: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    "INT64": "int64_contents",
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def read_request(
    message: pb.ModelInferRequest, memory: SharedMemory | None, *, max_elements: int = MAX_ELEMENTS
) -> InferRequest:
    """A message as a request.

    Raises InvalidRequestError where the two do not fit or a tensor has too many elements, NotAllowedError where
    tensors are in shared memory and ``memory`` is ``None``, NotOfferedError for what the protocol has and this server
    does not.
    """
    urgency, options = read_parameters(read_values(message.parameters))
    return InferRequest(
        model=message.model_name,
        version=read_version(message.model_version),
        id=message.id,
        inputs=_read_inputs(message, memory, max_elements),
        outputs=tuple([read_output(output.name, read_values(output.parameters)) for output in message.outputs]),
        urgency=urgency,
        options=options,
    )


def read_values(parameters: Mapping[str, Any]) -> Parameters:
    """A message's parameters as plain values; raises InvalidRequestError where one holds none."""
    if not parameters:
        return {}
    values = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidRequestError(f"parameter {name[:64]!r} must have a value, it has none")
        values[name] = getattr(parameter, choice)
    return values


def write_result(
    result: InferResult, request: InferRequest, memory: SharedMemory | None, *, is_final: bool | None = None
) -> bytes:
    """A result as the bytes of a ModelInferResponse; ``is_final`` says so in a stream's answer.

    The contents are joined to the rest as they are: protobuf itself would copy them twice more. Raises
    InvalidRequestError where an output does not fit into its shared memory.
    """
    placements = {output.name: output.placement for output in request.outputs if output.placement}
    if not placements and is_final is None:
        return _write_plain(result, request.id)
    message = pb.ModelInferResponse(model_name=result.model, model_version=str(result.version), id=request.id)
    if is_final is not None:
        message.parameters[FINAL_RESPONSE].bool_param = is_final
    parts: list[bytes | memoryview] = [b""]
    for tensor in result.outputs:
        output = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.array.shape)
        contents = to_raw(tensor)
        if placement := placements.get(tensor.name):
            _shared(memory).write(placement, contents)
            output.parameters[REGION].string_param = placement.region
            output.parameters[REGION_SIZE].int64_param = len(contents)
            if placement.offset:
                output.parameters[REGION_OFFSET].int64_param = placement.offset
            contents = b""
        parts += (_RAW_OUTPUT_TAG, _varint(len(contents)), contents)
    parts[0] = message.SerializeToString()
    return b"".join(parts)


def _write_plain(result: InferResult, request_id: str) -> bytes:
    """A result without parameters: what is the same in the answers to requests of one kind is written once."""
    outputs = tuple([(tensor.name, tensor.datatype, tensor.array.shape) for tensor in result.outputs])
    parts: list[bytes | memoryview] = [_plain_header(result.model, result.version, outputs)]
    if request_id:
        text = request_id.encode()
        parts += (_ID_TAG, _varint(len(text)), text)
    for tensor in result.outputs:
        contents = to_raw(tensor)
        parts += (_RAW_OUTPUT_TAG, _varint(len(contents)), contents)
    return b"".join(parts)


@lru_cache(maxsize=512)
def _plain_header(model: str, version: int, outputs: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """The bytes of an answer without its id and contents; ``outputs``: name, datatype and shape of each."""
    message = pb.ModelInferResponse(model_name=model, model_version=str(version))
    for name, datatype, shape in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    return message.SerializeToString()


def write_stream_error(text: str, request_id: str) -> bytes:
    """An error in band, as the bytes of a ModelStreamInferResponse."""
    message = pb.ModelStreamInferResponse(error_message=text)
    message.infer_response.id = request_id
    message.infer_response.parameters[FINAL_RESPONSE].bool_param = True
    return message.SerializeToString()


def wrap_in_stream(response: bytes) -> bytes:
    """The bytes of a ModelInferResponse as those of a ModelStreamInferResponse: field 2, length-delimited."""
    return b"".join((bytes([2 << 3 | 2]), _varint(len(response)), response))


def _read_inputs(message: pb.ModelInferRequest, memory: SharedMemory | None, most: int) -> tuple[Tensor, ...]:
    raw = message.raw_input_contents
    tensors = []
    taken = 0
    for given in message.inputs:
        shape = tuple(given.shape)
        placement = read_placement(given.name, read_values(given.parameters)) if given.parameters else None
        if placement:
            if given.HasField("contents"):
                raise InvalidRequestError(f"{given.name!r} must have no contents beside its place in shared memory")
            tensors.append(from_raw(given.name, given.datatype, shape, _shared(memory).read(placement), most=most))
        elif not raw:
            tensors.append(_from_contents(given, shape, most))
        elif given.HasField("contents") or taken == len(raw):
            raise InvalidRequestError(
                "raw_input_contents must be one for each input that is not in shared memory, and contents then empty; "
                f"got {len(raw)} for {len(message.inputs)} inputs" + (", and contents" if taken < len(raw) else "")
            )
        else:
            tensors.append(from_raw(given.name, given.datatype, shape, raw[taken], most=most))
            taken += 1
    if taken != len(raw):
        raise InvalidRequestError(
            f"raw_input_contents must be one for each input that is not in shared memory, got {len(raw)} for {taken}"
        )
    return tuple(tensors)


def _from_contents(given: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...], most: int) -> Tensor:
    """A tensor from its typed contents, which must be in the field of its dtype alone."""
    field = _CONTENTS_FIELD.get(given.datatype)
    for descriptor, _ in given.contents.ListFields():
        if descriptor.name != field:
            if given.datatype not in NUMPY_DTYPES:
                break  # the dtype is the first thing that is wrong
            wanted = f"in {field}" if field else "raw"
            raise InvalidRequestError(
                f"contents of {given.name!r} must be {wanted} for {given.datatype}, got {descriptor.name}"
            )
    values = getattr(given.contents, field) if field else ()
    if len(values) > most:  # else the list alone takes a second
        count_of(given.name, (len(values),), most=most)
    return from_values(given.name, given.datatype, shape, list(values), most=most)


def _shared(memory: SharedMemory | None) -> SharedMemory:
    if memory is None:
        raise NotAllowedError(NO_SHARED_MEMORY)
    return memory


def _varint(value: int) -> bytes:
    """A length as protobuf writes it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
