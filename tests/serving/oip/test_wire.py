from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError, NotAllowedError, NotOfferedError
from protos.oip import infer_pb2 as pb
from serving.oip.inference import InferResult
from serving.oip.requests import InferRequest, Placement, RequestedOutput
from serving.oip.tensors import BYTES, Tensor, to_raw
from serving.oip.wire import read_request, wrap_in_stream, write_result, write_stream_error
from tests.serving.oip.test_tensors import TYPED, tensors

NUMBERS = Tensor("x", "FP32", np.zeros((1, 2), np.float32))
REQUEST = InferRequest(model="m", inputs=(NUMBERS,), id="7")


def message_of(*given: Tensor, raw: bool = True, **over: Any) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(**({"model_name": "m"} | over))
    for number, tensor in enumerate(given):
        message.inputs.add(name=f"in {number}", datatype=tensor.datatype, shape=tensor.array.shape)
        if raw:
            message.raw_input_contents.append(bytes(to_raw(tensor)))
    return message


@given(st.lists(tensors(), min_size=1, max_size=3))
@settings(max_examples=50)
def test_whatever_a_client_can_build_is_read(many: list[Tensor]):
    read = read_request(message_of(*many, id="i", model_version="3"), None)
    assert (read.model, read.version, read.id) == ("m", 3, "i")
    for sent, got in zip(many, read.inputs, strict=True):
        assert (got.datatype, got.array.shape) == (sent.datatype, sent.array.shape)
        assert bytes(to_raw(got)) == bytes(to_raw(sent))


@given(st.lists(tensors(), max_size=3))
@settings(max_examples=50)
def test_an_answer_joined_by_hand_is_the_message_that_protobuf_reads(many: list[Tensor]):
    answer = pb.ModelInferResponse.FromString(write_result(InferResult("m", 3, tuple(many)), REQUEST, None))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "7")
    assert [(o.name, o.datatype, tuple(o.shape)) for o in answer.outputs] == [
        (tensor.name, tensor.datatype, tensor.array.shape) for tensor in many
    ]
    assert list(answer.raw_output_contents) == [bytes(to_raw(tensor)) for tensor in many]


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 3_000_000])
def test_contents_of_every_length_are_found_again(size: int):
    pixels = Tensor("p", "UINT8", np.full(size, 7, np.uint8))
    answer = pb.ModelInferResponse.FromString(write_result(InferResult("m", 1, (pixels,)), REQUEST, None))
    assert answer.raw_output_contents[0] == bytes([7]) * size


def test_answers_of_one_kind_keep_their_own_ids_and_contents():
    answers = []
    for number, request_id in enumerate(("", "é" * 200)):
        tensor = Tensor("x", "FP32", np.full((1, 2), number, np.float32))
        asked = InferRequest(model="m", inputs=(tensor,), id=request_id)
        answers.append(pb.ModelInferResponse.FromString(write_result(InferResult("m", 1, (tensor,)), asked, None)))
    assert [answer.id for answer in answers] == ["", "é" * 200]
    assert [np.frombuffer(answer.raw_output_contents[0], np.float32)[0] for answer in answers] == [0, 1]


def test_an_answer_in_a_stream_is_wrapped_and_final():
    answer = wrap_in_stream(write_result(InferResult("m", 1, (NUMBERS,)), REQUEST, None, is_final=True))
    message = pb.ModelStreamInferResponse.FromString(answer)
    assert message.error_message == ""
    assert message.infer_response.parameters["triton_final_response"].bool_param is True
    assert message.infer_response.raw_output_contents == [bytes(8)]


def test_an_error_in_a_stream_has_the_id_of_its_request():
    message = pb.ModelStreamInferResponse.FromString(write_stream_error("why", "7"))
    assert (message.error_message, message.infer_response.id) == ("why", "7")


CONTENTS = {
    "BOOL": ("bool_contents", [True, False]),
    **{f"INT{bits}": ("int_contents", [-1, 2]) for bits in (8, 16, 32)},
    "INT64": ("int64_contents", [-(2**62), 2]),
    **{f"UINT{bits}": ("uint_contents", [1, 2]) for bits in (8, 16, 32)},
    "UINT64": ("uint64_contents", [2**63, 2]),
    "FP32": ("fp32_contents", [0.5, 2.0]),
    "FP64": ("fp64_contents", [0.1, 2.0]),
    "BYTES": ("bytes_contents", [b"a", b""]),
}


def typed(datatype: str, field: str, values: list[Any]) -> pb.ModelInferRequest:
    message = message_of(Tensor("x", datatype, np.zeros(2)), raw=False)
    getattr(message.inputs[0].contents, field).extend(values)
    return message


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_contents_are_read(datatype: str):
    field, values = CONTENTS[datatype]
    assert read_request(typed(datatype, field, values), None).inputs[0].array.tolist() == values


def test_every_dtype_that_has_a_typed_form_is_tried():
    assert {*CONTENTS} == {*TYPED, BYTES} - {"FP16"}


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "UINT8", "nonsense"])
def test_contents_in_another_field_are_refused(datatype: str):
    with pytest.raises(InvalidRequestError):
        read_request(typed(datatype, "fp32_contents", [1.0, 2.0]), None)


@pytest.mark.parametrize("count", [1, 3])
def test_raw_contents_are_for_every_input_or_none(count: int):
    message = message_of(NUMBERS, NUMBERS)
    del message.raw_input_contents[:]
    message.raw_input_contents.extend([bytes(8)] * count)
    with pytest.raises(InvalidRequestError, match="one for each input"):
        read_request(message, None)


def test_raw_and_typed_contents_do_not_mix():
    message = message_of(NUMBERS)
    message.inputs[0].contents.fp32_contents.extend([1, 2])
    with pytest.raises(InvalidRequestError, match="contents then empty"):
        read_request(message, None)


def test_a_parameter_without_value_is_refused():
    message = message_of(NUMBERS)
    message.parameters["timeout"].SetInParent()
    with pytest.raises(InvalidRequestError, match="must have a value"):
        read_request(message, None)


@pytest.mark.parametrize("choice", ["int64_param", "uint64_param", "string_param"])
def test_a_timeout_may_come_in_any_integer_form(choice: str):
    message = message_of(NUMBERS)
    setattr(message.parameters["timeout"], choice, "2000000" if choice == "string_param" else 2_000_000)
    assert read_request(message, None).urgency.timeout_s == 2


def test_a_sequence_is_not_offered():
    message = message_of(NUMBERS)
    message.parameters["sequence_id"].int64_param = 1
    with pytest.raises(NotOfferedError):
        read_request(message, None)


def test_shared_memory_needs_the_operator():
    message = message_of(NUMBERS, raw=False)
    message.inputs[0].parameters["shared_memory_region"].string_param = "r"
    message.inputs[0].parameters["shared_memory_byte_size"].int64_param = 8
    with pytest.raises(NotAllowedError, match="--allow-shared-memory"):
        read_request(message, None)


def test_an_output_for_shared_memory_needs_the_operator():
    asked = InferRequest(model="m", inputs=(NUMBERS,), outputs=(RequestedOutput("x", 0, Placement("r", 0, 8)),))
    with pytest.raises(NotAllowedError, match="--allow-shared-memory"):
        write_result(InferResult("m", 1, (NUMBERS,)), asked, None)
