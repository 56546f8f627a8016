import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import InvalidRequestError, NotOfferedError
from pipelines.options import PredictOptions
from serving.oip.requests import (
    InferRequest,
    Placement,
    RequestedOutput,
    Urgency,
    read_output,
    read_parameters,
    read_placement,
    read_version,
)
from serving.oip.tensors import Tensor

NUMBERS = Tensor("x", "FP32", np.zeros((1, 2), np.float32))
IMAGES = Tensor("image", "BYTES", np.array([b"a", b"b"], object))
plain = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8))


def test_no_parameters_ask_for_nothing():
    assert read_parameters({}) == (Urgency(math.inf, 0), PredictOptions())


def test_a_timeout_is_in_microseconds():
    assert read_parameters({"timeout": 1_500_000})[0] == Urgency(1.5, 0)


def test_a_timeout_of_zero_is_none():
    assert read_parameters({"timeout": 0})[0].timeout_s == math.inf


def test_options_of_the_pipeline_are_read():
    options = read_parameters({"score_threshold": 0.5, "top_k": 3})[1]
    assert options == PredictOptions(score_threshold=0.5, top_k=3)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"timeout": -1}, "timeout must be a whole number"),
        ({"timeout": True}, "got True"),
        ({"timeout": 1.5}, "got 1.5"),
        ({"timeout": "soon"}, "got 'soon'"),
        ({"priority": 2**40}, "priority must be a whole number from 0 to"),
        ({"score_treshold": 0.5}, "parameters must be among timeout, priority, .* got 'score_treshold'"),
        ({"score_threshold": "high"}, "score_threshold must be a number"),
        ({"score_threshold": float("nan")}, "score_threshold must be between 0 and 1"),
        ({"top_k": 0}, "top_k must be between 1"),
        ({"triton_enable_empty_final_response": 1}, "must be a bool"),
    ],
)
def test_a_bad_parameter_is_named(parameters: dict[str, Any], said: str):
    with pytest.raises(InvalidRequestError, match=said):
        read_parameters(parameters)


def test_a_sequence_is_not_offered():
    with pytest.raises(NotOfferedError, match="sequence_id is not offered"):
        read_parameters({"sequence_id": 3})


known = st.sampled_from(["timeout", "priority", "score_threshold", "iou_threshold", "max_detections", "top_k"])


@given(st.dictionaries(known | st.text(max_size=5), plain, max_size=3))
def test_any_parameters_are_read_or_refused(parameters: dict[str, Any]):
    try:
        urgency, _ = read_parameters(parameters)
    except (InvalidRequestError, NotOfferedError):
        return
    assert urgency.timeout_s > 0


@pytest.mark.parametrize(("text", "version"), [("", 0), ("0", 0), ("7", 7), ("007", 7)])
def test_a_version_is_a_whole_number_or_empty(text: str, version: int):
    assert read_version(text) == version


@pytest.mark.parametrize("text", ["one", "-1", "1.0", "²", "1" * 10])
def test_another_version_is_refused(text: str):
    with pytest.raises(InvalidRequestError, match="model_version must be a whole number"):
        read_version(text)


def test_an_output_may_ask_for_classes_and_lie_in_shared_memory():
    asked = {"classification": 3, "shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": 4}
    assert read_output("o", asked) == RequestedOutput("o", 3, Placement("r", 4, 8))


@pytest.mark.parametrize(
    "parameters",
    [
        {"shared_memory_region": "r"},
        {"shared_memory_byte_size": 8},
        {"shared_memory_offset": 8},
        {"shared_memory_region": 1, "shared_memory_byte_size": 8},
        {"shared_memory_region": "r", "shared_memory_byte_size": -8},
        {"shared_memory_region": "r", "shared_memory_byte_size": 8, "shared_memory_offset": "far"},
    ],
)
def test_a_place_in_shared_memory_is_said_whole(parameters: dict[str, Any]):
    with pytest.raises(InvalidRequestError, match="shared_memory"):
        read_placement("x", parameters)


@pytest.mark.parametrize(
    ("inputs", "is_image"),
    [
        ((IMAGES,), True),
        ((NUMBERS,), False),
        ((IMAGES, NUMBERS), False),
        ((Tensor("image", "UINT8", np.zeros(2, np.uint8)),), False),
        ((Tensor("text", "BYTES", IMAGES.array),), False),
    ],
)
def test_the_pipeline_is_asked_for_by_bytes_called_image_alone(inputs: tuple[Tensor, ...], is_image: bool):
    assert InferRequest(model="m", inputs=inputs).is_image is is_image


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": ()}, "inputs must be one tensor or more"),
        ({"inputs": (NUMBERS, NUMBERS)}, "inputs must have different names"),
        ({"outputs": (RequestedOutput("a"), RequestedOutput("a"))}, "outputs must have different names"),
        ({"options": PredictOptions(top_k=1)}, "apply to encoded images only"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(arguments: dict[str, Any], said: str):
    with pytest.raises(InvalidRequestError, match=said):
        InferRequest(**({"model": "m", "inputs": (NUMBERS,)} | arguments))
