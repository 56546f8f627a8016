import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.errors import InvalidRequestError
from serving.oip.tensors import (
    BYTES,
    NUMPY_DTYPES,
    Tensor,
    decode_strings,
    encode_strings,
    from_raw,
    from_values,
    to_raw,
)

NUMBERS = [name for name in NUMPY_DTYPES if name != BYTES]
TYPED = [name for name in NUMBERS if name != "BF16"]
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def objects(items: list[Any], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(list(NUMPY_DTYPES)))
    shape = draw(shapes)
    if datatype == BYTES:
        count = int(np.prod(shape))
        items = draw(st.lists(st.binary(max_size=6), min_size=count, max_size=count))
        return Tensor("t", datatype, objects(items, shape))
    return Tensor("t", datatype, draw(hnp.arrays(NUMPY_DTYPES[datatype], shape)))


@given(tensors())
def test_raw_contents_survive_there_and_back(tensor: Tensor):
    back = from_raw(tensor.name, tensor.datatype, tensor.array.shape, bytes(to_raw(tensor)))
    assert (back.array.dtype, back.array.shape) == (tensor.array.dtype, tensor.array.shape)
    assert bytes(to_raw(back)) == bytes(to_raw(tensor))


@pytest.mark.parametrize("datatype", TYPED)
@given(data=st.data())
def test_values_survive_there_and_back(datatype: str, data: st.DataObject):
    array = data.draw(hnp.arrays(NUMPY_DTYPES[datatype], shapes))
    back = from_values("t", datatype, array.shape, array.ravel().tolist())
    np.testing.assert_array_equal(back.array, array)
    assert back.array.dtype == array.dtype


@given(tensors(), st.integers(1, 9))
def test_raw_contents_of_another_size_are_refused(tensor: Tensor, extra: int):
    data = bytes(to_raw(tensor)) + bytes(extra)
    with pytest.raises(InvalidRequestError):
        from_raw("t", tensor.datatype, tensor.array.shape, data)


@given(st.binary(max_size=40), shapes)
def test_any_bytes_are_a_bytes_tensor_or_refused(data: bytes, shape: tuple[int, ...]):
    try:
        tensor = from_raw("t", BYTES, shape, data)
    except InvalidRequestError:
        return
    assert bytes(to_raw(tensor)) == data


def test_an_order_of_memory_other_than_rows_is_written_in_rows():
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert bytes(to_raw(Tensor("t", "FP32", array))) == array.tobytes()


def test_aligned_raw_contents_are_not_copied():
    data = np.arange(4, dtype=np.float32).tobytes()
    assert from_raw("t", "FP32", (4,), data).array.base is not None


def test_unaligned_raw_contents_become_aligned():
    data = memoryview(b"x" + np.arange(4, dtype=np.float64).tobytes())[1:]
    array = from_raw("t", "FP64", (4,), data).array
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "said"),
    [
        ("FP8", (1,), b"1", "datatype of 't' must be one of"),
        ("", (1,), b"1", "got ''"),
        ("FP32", (2,), b"1234", r"must have 8 bytes for FP32 \[2\], got 4"),
        ("FP32", (-1,), b"", "none below 0"),
        ("UINT8", (2**62, 2**62), b"", "of at most 1099511627776 elements"),
        ("UINT8", (1,) * 33, b"1", "at most 32 sizes"),
        ("BOOL", (2,), b"\x01\x02", "must be 0 or 1"),
        (BYTES, (1,), b"\x05\0\0\0abc", "must have 5 bytes as its length says, 3 are left"),
        (BYTES, (2,), b"\x01\0\0\0a", "must be 2 elements"),
        (BYTES, (1,), b"\x01\0\0\0ab", "1 bytes more"),
        (BYTES, (1,), b"\x01\0", "got 0 and 2 bytes more"),
    ],
)
def test_what_is_wrong_with_raw_contents_is_said(datatype: str, shape: tuple[int, ...], data: bytes, said: str):
    with pytest.raises(InvalidRequestError, match=said):
        from_raw("t", datatype, shape, data)


@pytest.mark.parametrize(
    ("datatype", "values", "said"),
    [
        ("INT8", [128], "must be in the range of INT8"),
        ("UINT64", [-1], "must be in the range of UINT64"),
        ("INT32", [1.5], "must be INT32, got float"),
        ("BOOL", [1], "must be BOOL, got int"),
        ("FP32", [True], "must be FP32, got bool"),
        ("FP32", ["1"], "must be FP32, got str"),
        (BYTES, [1], "must be BYTES, got int"),
        ("BF16", [1.0], "must come as raw contents"),
        ("INT8", [1, 2], r"must have 1 values for shape \[1\], got 2"),
    ],
)
def test_what_is_wrong_with_values_is_said(datatype: str, values: list[Any], said: str):
    with pytest.raises(InvalidRequestError, match=said):
        from_values("t", datatype, (1,), values)


def test_text_travels_as_utf_8():
    text = objects(["ä", "", "b"], (3, 1))
    tensor = Tensor("t", BYTES, encode_strings(text))
    assert bytes(to_raw(tensor)) == struct.pack("<I", 2) + "ä".encode() + bytes(4) + struct.pack("<I", 1) + b"b"
    assert decode_strings(tensor).tolist() == text.tolist()


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(InvalidRequestError, match="must be UTF-8"):
        decode_strings(Tensor("t", BYTES, objects([b"\xff"], (1,))))
