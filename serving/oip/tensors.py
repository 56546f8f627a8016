"""Tensor contents between the wire and numpy: raw bytes, typed values, and the names of dtypes."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.errors import InvalidRequestError
from pipelines.types import AnyArray

BYTES = "BYTES"
BF16 = "BF16"
MAX_DIMS = 32
# Far beyond any message: numpy counts bytes in 64 bits, also those of an array that a size of 0 leaves empty.
MAX_ELEMENTS = 2**40
# Each string becomes an object of its own, whatever its length: millions of empty ones would fit into one message.
MAX_STRINGS = 65_536
# numpy has no bfloat16: such an array holds the 16 bits of each number as they travel.
NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<u2"),
    BYTES: np.dtype(object),
}
# What a graph's dtype is called on the wire; the last is onnxruntime's own name, for lack of a numpy one.
WIRE_DTYPES: Mapping[str, str] = {
    "object": BYTES,
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    "tensor(bfloat16)": BF16,
}
_TYPES: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "u": frozenset({int}),
    "i": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({bytes, str}),
}
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, eq=False, slots=True)
class Tensor:
    """A named array of the wire.

    Attributes:
        name: of the tensor.
        datatype: a key of ``NUMPY_DTYPES``.
        array: in that dtype; BYTES hold ``bytes``.
    """

    name: str
    datatype: str
    array: AnyArray


def from_raw(
    name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview, *, most: int = MAX_ELEMENTS
) -> Tensor:
    """Read raw contents of at most ``most`` elements; numbers are not copied where they lie aligned, nor written to.

    Raises InvalidRequestError where dtype, shape and size do not fit each other, or there are too many elements.
    """
    dtype = dtype_of(name, datatype)
    count = math.prod(shape)
    if (
        count * dtype.itemsize != len(data)
        or count > most
        or len(shape) > MAX_DIMS
        or min(shape, default=1) < 1
        or datatype == BYTES
    ):
        count = count_of(
            name, shape, most=min(most, MAX_STRINGS) if datatype == BYTES else most
        )  # else the shape is one: it has as many elements as came
    if datatype == BYTES:
        return Tensor(name, datatype, _objects(split_bytes(name, data, count), shape))
    if len(data) != count * dtype.itemsize:
        raise InvalidRequestError(
            f"raw contents of {name!r} must have {count * dtype.itemsize} bytes for {datatype} {list(shape)}, "
            f"got {len(data)}"
        )
    flat = np.frombuffer(data, dtype)
    if datatype == "BOOL" and count and int(flat.view(np.uint8).max()) > 1:
        raise InvalidRequestError(f"raw contents of {name!r} must be 0 or 1 for BOOL, got another byte")
    # A kernel may load elements at their natural alignment only.
    return Tensor(name, datatype, (flat if flat.flags.aligned else flat.copy()).reshape(shape))


def from_values(
    name: str, datatype: str, shape: Sequence[int], values: Sequence[Any], *, most: int = MAX_ELEMENTS
) -> Tensor:
    """Read one Python value an element, in row-major order; a BYTES element is ``bytes``, or ``str`` as UTF-8.

    Raises InvalidRequestError where a value is not of the dtype, or their number is not the shape's or above ``most``.
    """
    dtype = dtype_of(name, datatype)
    count = count_of(name, shape, most=min(most, MAX_STRINGS) if datatype == BYTES else most)
    if datatype == BF16:
        raise InvalidRequestError(f"{name!r} must come as raw contents, {datatype} has no other form")
    if len(values) != count:
        raise InvalidRequestError(f"{name!r} must have {count} values for shape {list(shape)}, got {len(values)}")
    wrong = set(map(type, values)) - _TYPES[dtype.kind]
    if wrong:
        raise InvalidRequestError(f"values of {name!r} must be {datatype}, got {min(t.__name__ for t in wrong)}")
    if datatype == BYTES:
        return Tensor(name, datatype, _objects([v.encode() if type(v) is str else v for v in values], shape))
    try:
        with np.errstate(over="raise"):  # else a number beyond the dtype's range becomes infinity
            return Tensor(name, datatype, np.array(values, dtype).reshape(shape))
    except (OverflowError, FloatingPointError) as error:
        raise InvalidRequestError(f"values of {name!r} must be in the range of {datatype}: {error}") from error


def to_raw(tensor: Tensor) -> bytes | memoryview:
    """Raw contents of an array; a view where its memory is in order already."""
    if tensor.datatype == BYTES:
        return b"".join(part for item in tensor.array.ravel() for part in (_LENGTH.pack(len(item)), item))
    array = np.ascontiguousarray(tensor.array, NUMPY_DTYPES[tensor.datatype])
    return memoryview(array.reshape(-1).view(np.uint8).data)


def encode_strings(array: AnyArray) -> AnyArray:
    """The ``bytes`` of an array of ``str``, as UTF-8; elements that are ``bytes`` stay."""
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
    return _objects(items, array.shape)


def decode_strings(tensor: Tensor) -> AnyArray:
    """The ``str`` of a BYTES tensor, as a graph takes them; raises InvalidRequestError where one is not UTF-8."""
    try:
        return _objects([item.decode() for item in tensor.array.ravel()], tensor.array.shape)
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"elements of {tensor.name!r} must be UTF-8, got {error.object[:16]!r}") from error


def split_bytes(name: str, data: bytes | memoryview, count: int) -> list[bytes]:
    """The ``count`` elements of a raw BYTES tensor; raises InvalidRequestError where their lengths do not add up."""
    items: list[bytes] = []
    position = 0
    while position < len(data) and len(items) < count:
        if len(data) - position < _LENGTH.size:
            break
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if length > len(data) - position:
            raise InvalidRequestError(
                f"element {len(items)} of {name!r} must have {length} bytes as its length says, "
                f"{len(data) - position} are left"
            )
        items.append(bytes(data[position : position + length]))
        position += length
    if len(items) != count or position != len(data):
        raise InvalidRequestError(
            f"raw contents of {name!r} must be {count} elements, each behind its length, "
            f"got {len(items)} and {len(data) - position} bytes more"
        )
    return items


def dtype_of(name: str, datatype: str) -> np.dtype[Any]:
    """The numpy dtype; raises InvalidRequestError for a name that is none of the protocol's."""
    dtype = NUMPY_DTYPES.get(datatype)
    if dtype is None:
        raise InvalidRequestError(
            f"datatype of {name!r} must be one of {', '.join(NUMPY_DTYPES)}, got {datatype[:32]!r}"
        )
    return dtype


def count_of(name: str, shape: Sequence[int], *, most: int = MAX_ELEMENTS) -> int:
    """Elements of a shape; raises InvalidRequestError where it is none, or has more than ``most``."""
    if len(shape) > MAX_DIMS or (shape and min(shape) < 0) or math.prod(filter(None, shape)) > most:
        raise InvalidRequestError(
            f"shape of {name!r} must have at most {MAX_DIMS} sizes, none below 0, of at most {most} elements, "
            f"got {list(shape)[: MAX_DIMS + 1]!s:.200}"
        )
    return math.prod(shape)


def _objects(items: Sequence[bytes | str], shape: Sequence[int]) -> AnyArray:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)
