"""Options of a request: ranges, and options that do not act."""

from typing import Any

import pytest

from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("score_threshold", -0.01, id="score below zero"),
        pytest.param("score_threshold", float("nan"), id="score NaN"),
        pytest.param("iou_threshold", 1.01, id="iou above one"),
        pytest.param("iou_threshold", float("inf"), id="iou infinite"),
        pytest.param("max_detections", 0, id="no detections"),
        pytest.param("max_detections", 100_001, id="too many detections"),
        pytest.param("top_k", -1, id="negative top_k"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{name} must be between .* got"):
        PredictOptions(**{name: value})


def test_the_ends_of_the_ranges_are_inside() -> None:
    PredictOptions(score_threshold=0.0, iou_threshold=1.0, max_detections=1, top_k=100_000)
