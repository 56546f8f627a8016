import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.errors import InvalidRequestError
from serving.oip.inference import InferResult
from serving.oip.requests import InferRequest
from serving.oip.tensors import NUMPY_DTYPES, Tensor, from_raw, from_values
from serving.rest.infer_read import BinaryOutputs
from serving.rest.infer_write import is_large, write_infer
from serving.rest.reply import Reply

JSON, BINARY = BinaryOutputs({}, False), BinaryOutputs({}, True)
NUMBERS = sorted(set(NUMPY_DTYPES) - {"BF16", "BYTES"})
ANY = InferRequest("m", (Tensor("x", "FP32", np.zeros(1, np.float32)),), id="7")


def strings(*items: bytes) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def written(*tensors: Tensor, binary: BinaryOutputs = JSON, request: InferRequest = ANY) -> Reply:
    return write_infer(InferResult("m", 3, tensors), request, binary, None)


def document_of(reply: Reply) -> dict[str, Any]:
    return dict(json.loads(bytes(reply.parts[0])))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype = draw(st.sampled_from(NUMBERS))
    dtype = NUMPY_DTYPES[datatype]
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
    return Tensor("y", datatype, draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **finite))))


@given(tensors())
def test_numbers_are_the_same_from_json_and_from_binary_data(tensor: Tensor):
    (output,) = document_of(written(tensor))["outputs"]
    from_json = from_values("y", output["datatype"], output["shape"], output["data"]).array
    reply = written(tensor, binary=BINARY)
    (output,) = document_of(reply)["outputs"]
    assert output["parameters"] == {"binary_data_size": tensor.array.nbytes}
    raw = from_raw("y", output["datatype"], output["shape"], bytes(reply.parts[1])).array
    assert np.array_equal(from_json, tensor.array)
    assert np.array_equal(raw, tensor.array)


def test_the_header_says_how_long_the_json_is():
    reply = written(Tensor("y", "UINT8", np.arange(3, dtype=np.uint8)), binary=BINARY)
    assert dict(reply.headers) == {"inference-header-content-length": str(len(reply.parts[0]))}
    assert reply.media_type == "application/octet-stream"


def test_json_alone_has_no_such_header():
    reply = written(Tensor("y", "UINT8", np.arange(3, dtype=np.uint8)))
    assert (reply.headers, reply.media_type) == ((), "application/json")


def test_model_version_and_id_are_said():
    document = document_of(written())
    assert (document["model_name"], document["model_version"], document["id"]) == ("m", "3", "7")


def test_more_elements_than_one_run_are_written_whole():
    values = np.arange(50_000, dtype=np.int32).reshape(100, 500)
    (output,) = document_of(written(Tensor("y", "INT32", values)))["outputs"]
    assert np.array_equal(np.reshape(output["data"], (100, 500)), values)


def test_text_is_text():
    (output,) = document_of(written(Tensor("y", "BYTES", strings("ä".encode(), b'"', b""))))["outputs"]
    assert output["data"] == ["ä", '"', ""]


def test_masks_of_an_image_are_base64():
    request = InferRequest("m", (Tensor("image", "BYTES", strings(b"x")),))
    (output,) = document_of(written(Tensor("masks", "BYTES", strings(b"\x89PNG")), request=request))["outputs"]
    assert base64.b64decode(output["data"][0]) == b"\x89PNG"


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (Tensor("y", "FP32", np.float32([1, np.nan])), "NaN or infinity"),
        (Tensor("y", "FP16", np.float16([np.inf])), "NaN or infinity"),
        (Tensor("y", "BYTES", strings(b"\xff")), "bytes that are no text"),
    ],
)
def test_what_json_cannot_say_is_refused_and_binary_data_can(tensor: Tensor, said: str):
    with pytest.raises(InvalidRequestError, match=f"{said}.*binary_data"):
        written(tensor)
    assert written(tensor, binary=BINARY).size > 0


def test_large_json_is_told_from_small_and_from_binary():
    large = InferResult("m", 1, (Tensor("y", "FP32", np.zeros(10_000, np.float32)),))
    small = InferResult("m", 1, (Tensor("y", "FP32", np.zeros(10, np.float32)),))
    text = InferResult("m", 1, (Tensor("y", "BYTES", strings(bytes(1_000_000))),))
    assert [is_large(large, JSON), is_large(large, BINARY), is_large(small, JSON)] == [True, False, False]
    assert is_large(text, BINARY)
