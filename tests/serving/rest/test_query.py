import math

import pytest

from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions
from serving.rest.query import OPTIONS, TIMEOUT, read_options, read_query, read_timeout

KNOWN = (*OPTIONS, TIMEOUT)


def test_options_are_read_as_numbers():
    query = read_query("score_threshold=0.25&iou_threshold=1&max_detections=7&top_k=3", KNOWN)
    assert read_options(query) == PredictOptions(score_threshold=0.25, iou_threshold=1.0, max_detections=7, top_k=3)


def test_nothing_said_is_the_default():
    assert read_options(read_query("", KNOWN)) == PredictOptions()
    assert math.isinf(read_timeout({}))


def test_a_timeout_is_in_seconds():
    assert read_timeout({"timeout": "2.5"}) == 2.5


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("unknown=1", "must be among score_threshold"),
        ("top_k=1&top_k=2", "given once"),
        ("top_k", "NAME=VALUE"),
        ("top_k=1&&", "NAME=VALUE"),
        ("top_k=%FF", "NAME=VALUE"),
        ("&".join(["top_k=1"] * 100), "NAME=VALUE"),
    ],
)
def test_a_bad_query_is_refused(query: str, said: str):
    with pytest.raises(InvalidRequestError, match=said):
        read_query(query, KNOWN)


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": "x"},
        {"top_k": "1.5"},
        {"top_k": "-1"},
        {"top_k": "0"},
        {"top_k": "\u0663"},  # a digit, but none of ASCII
        {"top_k": "9" * 5000},
        {"max_detections": ""},
        {"score_threshold": "high"},
        {"score_threshold": "nan"},
        {"score_threshold": "1.1"},
        {"iou_threshold": "-inf"},
    ],
)
def test_a_bad_option_is_refused(fields: dict[str, str]):
    with pytest.raises(InvalidRequestError, match=next(iter(fields))):
        read_options(fields)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_bad_timeout_is_refused(value: str):
    with pytest.raises(InvalidRequestError, match="timeout must be"):
        read_timeout({"timeout": value})
