"""Results of every kind, built at random by Hypothesis: empty ones, and with and without each optional field."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipelines.types import (
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    Result,
    SegmentationMap,
    pixel_windows,
)

floats = st.floats(width=32, allow_nan=False)
labels = st.text(max_size=8)


def arrays(*shape: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.float32, shape, elements=floats)


def ids(count: int) -> st.SearchStrategy[Any]:
    return hnp.arrays(np.int64, count, elements=st.integers(0, 2**40))


def names(draw: st.DrawFn, count: int) -> tuple[str, ...]:
    return tuple(draw(st.lists(labels, min_size=count, max_size=count))) if draw(st.booleans()) else ()


@st.composite
def classifications(draw: st.DrawFn) -> Classification:
    count = draw(st.integers(0, 6))
    return Classification(draw(ids(count)), draw(arrays(count)), names(draw, count))


@st.composite
def corners(draw: st.DrawFn, count: int) -> Any:
    """Boxes ``(count, 4)`` of at most 12 pixels' sides, some of them flat."""
    starts = draw(hnp.arrays(np.float32, (count, 2), elements=st.floats(0, 40, width=32)))
    sides = draw(hnp.arrays(np.float32, (count, 2), elements=st.floats(0, 12, width=32)))
    return np.concatenate((starts, starts + sides), axis=1)


def masks(draw: st.DrawFn, boxes: Any) -> tuple[Any, ...]:
    windows = pixel_windows(boxes)
    return tuple(draw(hnp.arrays(np.bool_, (int(h), int(w)))) for w, h in windows[:, 2:] - windows[:, :2])


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    count, points = draw(st.integers(0, 5)), draw(st.integers(0, 4))
    masked, turned = draw(st.booleans()), draw(st.booleans())
    boxes = draw(corners(count) if masked else arrays(count, 4))
    keypoints = draw(arrays(count, points, 3)) if draw(st.booleans()) else None
    joined = st.lists(st.tuples(*[st.integers(0, points - 1)] * 2), max_size=3) if points else st.just([])
    polygons = tuple(draw(arrays(4 if turned else draw(st.integers(0, 5)), 2)) for _ in range(count))
    return Detections(
        boxes=boxes,
        scores=draw(arrays(count)),
        class_ids=draw(ids(count)),
        labels=names(draw, count),
        keypoints=keypoints,
        polygons=polygons if turned or draw(st.booleans()) else None,
        masks=masks(draw, boxes) if masked else None,
        angles=draw(arrays(count)) if turned else None,
        skeleton=() if keypoints is None else tuple(draw(joined)),
    )


@st.composite
def segmentations(draw: st.DrawFn, *, alpha: bool = True) -> SegmentationMap:
    shape = (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
    wide = draw(st.booleans())
    class_map = draw(hnp.arrays(np.uint16 if wide else np.uint8, shape))
    plane = draw(hnp.arrays(np.uint8, shape)) if alpha and draw(st.booleans()) else None
    return SegmentationMap(class_map, plane, tuple(f"class {i}" for i in range(300 if wide else 3)))


@st.composite
def masked_detections(draw: st.DrawFn) -> Detections:
    boxes = draw(corners(draw(st.integers(0, 4))))
    count = len(boxes)
    return Detections(boxes, draw(arrays(count)), draw(ids(count)), names(draw, count), masks=masks(draw, boxes))


@st.composite
def cascades(draw: st.DrawFn, *, alpha: bool = True) -> CascadeResult:
    found = draw(detections())
    each = draw(st.sampled_from((classifications(), embeddings, segmentations(alpha=alpha))))
    objects = tuple(draw(each) for _ in range(len(found)))
    return CascadeResult(found, objects, draw(arrays(len(found), 2, 3)))


embeddings = st.integers(0, 20).flatmap(arrays).map(Embedding)
results: st.SearchStrategy[Result] = st.one_of(classifications(), detections(), segmentations(), embeddings, cascades())
