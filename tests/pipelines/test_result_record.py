"""Results survive the arrays of a golden record; arrays that are no result are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from pipelines.result_record import from_arrays, to_arrays
from pipelines.types import CascadeResult, Detections, Embedding, Result, SegmentationMap, identical
from tests.builders import f32
from tests.serving.results import results

TASKS = {
    "Classification": "classification",
    "Detections": "detection",
    "Embedding": "embedding",
    "CascadeResult": "cascade",
}
_DETECTIONS = {
    "detections/boxes": np.zeros((1, 4), np.float32),
    "detections/scores": np.zeros(1, np.float32),
    "detections/class_ids": np.zeros(1, np.int64),
}


def as_recorded(result: Any) -> Any:
    """The result without what is the manifest's, and not the record's."""
    if isinstance(result, CascadeResult):
        objects = tuple(map(as_recorded, result.objects))
        return replace(result, detections=as_recorded(result.detections), objects=objects)
    if isinstance(result, Detections):
        if len({len(polygon) for polygon in result.polygons or ()}) != 1:
            result = replace(result, polygons=None, angles=None)  # a decoder's outlines have one length
        result = replace(result, skeleton=())
    return result if isinstance(result, Embedding) else replace(result, labels=())


@given(results)
def test_every_result_survives_recording(result: Result) -> None:
    recorded = as_recorded(result)
    task = TASKS.get(type(result).__name__, "segmentation")
    assert identical(from_arrays(task, to_arrays(recorded)), recorded)


@pytest.mark.parametrize("extra", ["objects/x/embedding/vector", "objects/0/none/vector", "notes"])
def test_arrays_of_no_cascade_are_refused(extra: str) -> None:
    one = Detections(f32([[0, 0, 1, 1]]), f32([1]), np.zeros(1, np.int64))
    arrays = to_arrays(CascadeResult(one, (Embedding(f32([1, 2])),), np.zeros((1, 2, 3), np.float32)))
    assert from_arrays("cascade", arrays)
    with pytest.raises(ValueError, match="arrays must be detections, transforms and objects"):
        from_arrays("cascade", (arrays if "/" in extra else {}) | {extra: f32([1])} | _DETECTIONS)


def masked() -> dict[str, Any]:
    masks = (np.ones((2, 3), bool), np.zeros((1, 2), bool))
    boxes = f32([[0, 0, 3, 2], [1, 1, 3, 2]])
    return to_arrays(Detections(boxes, f32([0.9, 0.8]), np.zeros(2, np.int64), masks=masks))


def test_masks_are_one_bit_a_pixel() -> None:
    assert masked()["masks"].tolist() == [0b11111100]


def test_masks_that_do_not_fit_their_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="masks must be the 8 bits that the boxes ask for, got uint8 \\(2,\\)"):
        from_arrays("detection", masked() | {"masks": np.zeros(2, np.uint8)})


@pytest.mark.parametrize("missing", ["boxes", "scores"])
def test_a_result_without_a_field_is_refused(missing: str) -> None:
    arrays = masked()
    del arrays[missing]
    with pytest.raises(ValueError, match=missing):
        from_arrays("detection", arrays)


def test_nothing_found_survives_with_its_optional_fields() -> None:
    none = Detections(
        np.empty((0, 4), np.float32), f32([]), np.empty(0, np.int64), polygons=(), masks=(), angles=f32([])
    )
    assert identical(from_arrays("detection", to_arrays(none)), none)


def test_a_map_of_classes_survives_with_its_alpha() -> None:
    found = SegmentationMap(np.eye(3, dtype=np.uint8), np.full((3, 3), 7, np.uint8))
    assert identical(from_arrays("segmentation", to_arrays(found)), found)
