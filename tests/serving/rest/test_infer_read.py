import base64
import json
import random
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InvalidRequestError, NotAllowedError, NotOfferedError, OcellaError
from pipelines.options import PredictOptions
from serving.oip.requests import InferRequest, RequestedOutput
from serving.oip.tensors import NUMPY_DTYPES, Tensor, from_raw, to_raw
from serving.rest.errors import RequestTooLargeError
from serving.rest.infer_read import BinaryOutputs, read_infer
from serving.rest.jsons import MAX_JSON_BYTES
from serving.status import is_listed

FUZZED = 3000


def read(document: Any, *binary: bytes, header_length: str | None = None) -> tuple[InferRequest, BinaryOutputs]:
    header = document if isinstance(document, bytes) else json.dumps(document).encode()
    length = header_length if header_length is not None else str(len(header)) if binary else ""
    return read_infer(header + b"".join(binary), length, "model", "", None)


def given(**over: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]} | over


def first(document: Any, *binary: bytes) -> Tensor:
    return read(document, *binary)[0].inputs[0]


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [1.0, 2.0, 3.0, 4.0]])
def test_data_is_flat_or_nested(data: list[Any]):
    tensor = first({"inputs": [given(data=data)]})
    assert np.array_equal(tensor.array, np.float32([[1, 2], [3, 4]]))
    assert tensor.array.dtype == np.float32


@pytest.mark.parametrize("datatype", sorted(set(NUMPY_DTYPES) - {"BF16"}))
def test_each_datatype_is_the_same_from_json_and_from_binary_data(datatype: str):
    values: dict[str, list[Any]] = {"BOOL": [True, False], "BYTES": ["ä", ""], "FP16": [0.5, -2], "FP32": [0.1, 7]}
    data = values.get(datatype, [1, 100])
    in_json = first({"inputs": [given(datatype=datatype, shape=[2], data=data)]})
    raw = bytes(to_raw(in_json))
    there = {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    in_binary = first({"inputs": [there]}, raw)
    assert np.array_equal(in_json.array, in_binary.array)
    assert in_json.array.dtype == in_binary.array.dtype == NUMPY_DTYPES[datatype]


def test_binary_data_lies_behind_the_json_in_the_order_of_the_inputs():
    sizes = {"a": 8, "b": 4}
    inputs = [
        {"name": name, "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
        for name, size in sizes.items()
    ]
    request, _ = read({"inputs": [inputs[0], given(), inputs[1]]}, bytes(range(8)), b"last")
    assert [bytes(to_raw(tensor)) for tensor in (request.inputs[0], request.inputs[2])] == [bytes(range(8)), b"last"]


def test_an_image_in_json_is_base64():
    image = bytes(range(256))
    text = base64.b64encode(image).decode()
    tensor = first({"inputs": [given(name="image", datatype="BYTES", shape=[1], data=[text])]})
    assert tensor.array.tolist() == [image]


def test_text_beside_an_image_is_text():
    inputs = [given(name=name, datatype="BYTES", shape=[1], data=["YQ=="]) for name in ("image", "question")]
    request, _ = read({"inputs": inputs})
    assert [tensor.array.tolist() for tensor in request.inputs] == [[b"YQ=="]] * 2


def test_parameters_outputs_and_id_are_read():
    request, binary = read(
        {
            "id": "7",
            "inputs": [given(name="image", datatype="BYTES", shape=[1], data=["YQ=="])],
            "outputs": [
                {"name": "boxes", "parameters": {"binary_data": True}},
                {"name": "logits", "parameters": {"classification": 3}},
            ],
            "parameters": {"top_k": 2, "timeout": 1_500_000, "priority": 1},
        }
    )
    assert (request.id, request.options, request.urgency.timeout_s) == ("7", PredictOptions(top_k=2), 1.5)
    assert request.outputs == (RequestedOutput("boxes"), RequestedOutput("logits", 3))
    assert [name in binary for name in ("boxes", "logits")] == [True, False]


def test_an_output_that_says_so_stays_in_json_where_all_others_are_binary():
    outputs = [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}]
    _, binary = read({"inputs": [given()], "outputs": outputs, "parameters": {"binary_data_output": True}})
    assert [name in binary for name in ("a", "b")] == [False, True]


BINARY = {"name": "x", "datatype": "UINT8", "shape": [4], "parameters": {"binary_data_size": 4}}
BAD: dict[str, tuple[Any, str]] = {
    "no json": (b"{", "must be JSON"),
    "no utf-8": (b'{"id":"\xff"}', "must be JSON"),
    "half a character": (b'{"id":"\\ud800"}', "must be JSON"),
    "deep": (b"[" * 100_000, "must be JSON"),
    "long number": (b'{"id":' + b"1" * 5000 + b"}", "must be JSON"),
    "no object": ([], "must be a JSON object, got an array"),
    "nothing": (b"", "inputs must be one tensor or more"),
    "inputs of another kind": ({"inputs": {}}, "inputs of the request must be an array, got an object"),
    "an input of another kind": ({"inputs": [1]}, "each of inputs must be an object"),
    "no name": ({"inputs": [{}]}, "name of an input must be a string, got null"),
    "no datatype": ({"inputs": [given(datatype=None)]}, "datatype of 'x' must be one of"),
    "another datatype": ({"inputs": [given(datatype="FP8")]}, "datatype of 'x' must be one of"),
    "id of another kind": ({"id": 7, "inputs": [given()]}, "id of the request must be a string"),
    "negative size": ({"inputs": [given(shape=[-2, -2])]}, "shape of 'x' must"),
    "size that is none": ({"inputs": [given(shape=[2.0, 2])]}, "must be whole numbers"),
    "size of truth": ({"inputs": [given(shape=[True, 4])]}, "must be whole numbers"),
    "empty, but vast": ({"inputs": [given(shape=[0, 2**60, 2**60], data=[])]}, "shape of 'x' must"),
    "too few": ({"inputs": [given(data=[1])]}, "must have 4 values"),
    "ragged": ({"inputs": [given(data=[[1, 2], [3]])]}, "flat or nested as its shape"),
    "nested and flat": ({"inputs": [given(data=[[1, 2], 3, 4])]}, "flat or nested"),
    "nested otherwise": ({"inputs": [given(data=[[1, 2, 3, 4]])]}, "flat or nested"),
    "too deep": ({"inputs": [given(shape=[1], data=[[[1]]])]}, "must be FP32, got list"),
    "text for numbers": ({"inputs": [given(data=["1"] * 4)]}, "must be FP32, got str"),
    "a number too large": ({"inputs": [given(data=[1e300, 0, 0, 0])]}, "range of FP32"),
    "a whole number too large": ({"inputs": [given(datatype="INT8", data=[200, 0, 0, 0])]}, "range of INT8"),
    "bfloat16 in json": ({"inputs": [given(datatype="BF16")]}, "must come as raw contents"),
    "no data": ({"inputs": [given(data=None)]}, "none or several"),
    "data twice": ({"inputs": [given(parameters={"binary_data_size": 4})]}, "none or several"),
    "a parameter of several": ({"inputs": [given()], "parameters": {"top_k": [1]}}, "must be a single value"),
    "parameters of another kind": ({"inputs": [given()], "parameters": []}, "must be an object, got an array"),
    "an unknown parameter": ({"inputs": [given()], "parameters": {"speed": 1}}, "parameters must be among"),
    "flag of another kind": ({"inputs": [given()], "parameters": {"binary_data_output": 1}}, "must be true or false"),
    "twice": ({"inputs": [given(), given()]}, "must have different names"),
    "no base64": ({"inputs": [given(name="image", datatype="BYTES", shape=[1], data=["ä"])]}, "must be base64"),
    "image of number": ({"inputs": [given(name="image", datatype="BYTES", shape=[1], data=[1])]}, "must be a string"),
    "binary data that is not there": ({"inputs": [BINARY]}, "at most the 0 bytes left"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_one_clear_error(name: str):
    document, said = BAD[name]
    with pytest.raises(InvalidRequestError, match=said):
        read(document)


@pytest.mark.parametrize(
    ("length", "said"),
    [("x", "whole number"), ("-1", "whole number"), ("9999", "at most the body"), ("9" * 99, "whole")],
)
def test_a_bad_header_length_is_refused(length: str, said: str):
    with pytest.raises(InvalidRequestError, match=said):
        read({"inputs": [BINARY]}, b"1234", header_length=length)


def test_a_body_without_json_is_told_where_to_go():
    with pytest.raises(NotOfferedError, match=":predict"):
        read(b"image", header_length="0")


@pytest.mark.parametrize("data", [b"123", b"12345"])
def test_binary_data_must_be_as_long_as_it_says(data: bytes):
    with pytest.raises(InvalidRequestError, match="bytes"):
        read({"inputs": [BINARY]}, data)


def test_shared_memory_needs_to_be_allowed():
    placed = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    with pytest.raises(NotAllowedError, match="--allow-shared-memory"):
        read({"inputs": [given(data=None, parameters=placed)]})


def test_json_has_a_limit_of_its_own():
    with pytest.raises(RequestTooLargeError, match="send tensors as binary data"):
        read(b" " * (MAX_JSON_BYTES + 1))


def test_any_damage_to_a_request_is_the_callers_mistake():
    chance = random.Random(11)
    header = json.dumps({"id": "7", "inputs": [given(), BINARY | {"name": "y"}], "outputs": [{"name": "z"}]}).encode()
    whole = header + b"1234"
    refused = accepted = 0
    for _ in range(FUZZED):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randint(0, 3)] = chance.choice(
                (b"", b"[", b"}", b'"', b"-1", b"1e999", b"null", b"\xff", chance.randbytes(2))
            )
        length = chance.choice((str(len(header)), str(len(header)), "", "-1", str(chance.randrange(len(whole) + 9))))
        try:
            read_infer(bytes(damaged), length, "model", "", None)
        except OcellaError as error:
            refused += is_listed(error)
        else:
            accepted += 1
    assert refused + accepted == FUZZED
    assert refused > FUZZED / 2


def test_raw_bytes_of_an_image_need_no_base64():
    raw = b"\x04\0\0\0\x89PNG"
    tensor = first(
        {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 8}}]}, raw
    )
    assert tensor.array.tolist() == from_raw("image", "BYTES", (1,), raw).array.tolist() == [b"\x89PNG"]
