"""Which files an ONNX graph keeps weights in, read from its bytes without onnx."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

# Where tensors lie inside each message of onnx.proto: field number to the message that it holds.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2  # of an entry
_LOCATION = b"location"
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_CHUNK_BYTES = 1024 * 1024


def external_files(path: Path) -> frozenset[str]:
    """The locations that tensors of a graph name, in subgraphs and functions, too; raises ValueError for bad bytes."""
    with path.open("rb") as file:
        if not _may_name_files(file):
            return frozenset()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return frozenset(_locations(data))


def _may_name_files(file: BinaryIO) -> bool:
    """Whether the word that stands before each location is there at all: milliseconds, where the walk takes 100."""
    end = b""
    while chunk := file.read(_CHUNK_BYTES):
        if _LOCATION in end + chunk:
            return True
        end = chunk[-len(_LOCATION) :]
    return False


def _locations(data: mmap.mmap) -> Iterator[str]:
    waiting = [("model", 0, len(data))]
    while waiting:
        message, start, end = waiting.pop()
        if message == "entry":
            texts = {number: data[at:to] for number, at, to in _fields(data, start, end)}
            if texts.get(_KEY) == _LOCATION:
                yield texts.get(_VALUE, b"").decode("utf-8", errors="replace")
            continue
        inside = _INSIDE[message]
        waiting += [(inside[number], at, to) for number, at, to in _fields(data, start, end) if number in inside]


def _fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each length-delimited field of a message, in protobuf's wire format."""
    while position < end:
        tag, position = _varint(data, position, end)
        if tag >> 32:  # onnxruntime's protobuf cuts it to 32 bits: to that, another field begins here
            raise ValueError(f"a field of the file has the tag {tag:#x}, which is above 32 bits")
        kind = tag & 7
        if kind == _LENGTH:
            size, position = _varint(data, position, end)
            if size > end - position:
                raise ValueError("a field of the file ends behind its message")
            yield tag >> 3, position, position + size
            position += size
        elif kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind in (_FIXED32, _FIXED64):
            position += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of the file has the wire type {kind}, which ONNX does not use")


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A number, seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of the file does not end")
