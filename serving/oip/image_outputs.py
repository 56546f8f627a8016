"""What a pipeline found in images, as named arrays: one row an image, padded to the largest."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.errors import InvalidRequestError
from pipelines.present import encode_mask_png, to_json
from pipelines.types import (
    AnyArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    Result,
    SegmentationMap,
    pixel_windows,
)
from serving.dataplane import Answer
from serving.oip.tensors import BYTES, Tensor

RESULT = "result"
# Of a cascade: what the second model says of each object.
OBJECT = "object_"
# Most elements of one output that stands for several images: padding must not make much of little.
MAX_PADDED = 2**28
# Each output's dtype on the wire and what fills the places that an image does not use.
OUTPUTS: Mapping[str, tuple[str, Any]] = {
    "alpha": ("UINT8", 0),
    "angles": ("FP32", 0),
    "boxes": ("FP32", 0),
    "class_ids": ("INT64", -1),
    "embedding": ("FP32", 0),
    "image_hw": ("INT32", 0),
    "keypoints": ("FP32", 0),
    "labels": (BYTES, b""),
    "mask": ("UINT16", 0),
    "mask_windows": ("INT32", 0),
    "masks": (BYTES, b""),
    "num_classes": ("INT32", 0),
    "num_detections": ("INT32", 0),
    "polygon_sizes": ("INT32", 0),
    "polygons": ("FP32", 0),
    RESULT: (BYTES, b""),
    "scores": ("FP32", 0),
    "transforms": ("FP32", 0),
}
_CLASSIFICATION = ("num_classes", "class_ids", "scores", "labels")
_DETECTION = (
    *("num_detections", "boxes", "scores", "class_ids", "labels", "keypoints", "polygons", "polygon_sizes"),
    *("masks", "mask_windows", "angles"),
)
_SEGMENTATION = ("mask", "alpha", "labels")
_EMBEDDING = ("embedding",)
_OBJECTS = tuple(OBJECT + name for name in (*_CLASSIFICATION, *_SEGMENTATION[:2], *_EMBEDDING))
# By task, those that a model may answer; a detector without keypoints has no output of that name.
BY_TASK: Mapping[str, tuple[str, ...]] = {
    "classification": _CLASSIFICATION,
    "detection": _DETECTION,
    "segmentation": _SEGMENTATION,
    "embedding": _EMBEDDING,
    "cascade": (*_DETECTION, "transforms", *_OBJECTS),
}
_ALWAYS = ("image_hw", RESULT)


def check_outputs(task: str, names: Sequence[str]) -> None:
    """Raise InvalidRequestError where a name is not an output of the task."""
    known = (*BY_TASK[task], *_ALWAYS)
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"outputs of encoded images for {task} must be among {', '.join(known)}, got {name[:64]!r}"
            )


def image_row(answer: Answer, names: Collection[str]) -> dict[str, AnyArray]:
    """One image's outputs without batch axis; ``names`` are those wanted, none for all.

    What is not wanted and costs something (PNG, JSON) is not made.
    """
    row = _row_of(answer.result, names)
    row["image_hw"] = np.array(answer.image_hw, np.int32)
    if not names or RESULT in names:
        row[RESULT] = _object(json.dumps(to_json(answer.result), allow_nan=False).encode())
    return {name: array for name, array in row.items() if not names or name in names}


def stack_rows(rows: Sequence[Mapping[str, AnyArray]], names: Sequence[str]) -> tuple[Tensor, ...]:
    """The outputs of all images, batch axis first, in the order of ``names`` (none: all, as they come).

    Raises InvalidRequestError where the model does not answer one of ``names``, or padding would make too much.
    """
    found = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        if name not in found and not name.startswith(OBJECT):
            raise InvalidRequestError(f"outputs must be among those of the model ({', '.join(found)}), got {name!r}")
    return tuple(_stack(name, [row[name] for row in rows if name in row], len(rows)) for name in names or found)


def _stack(name: str, arrays: Sequence[AnyArray], count: int) -> Tensor:
    datatype, fill = OUTPUTS[name.removeprefix(OBJECT)]
    if name.removeprefix(OBJECT) == "mask" and all(array.dtype == np.uint8 for array in arrays):
        datatype = "UINT8"
    if len(arrays) < count:  # a cascade without any object in some image knows no sizes there
        arrays = [*arrays, *([np.empty((0,) * max((a.ndim for a in arrays), default=1))] * (count - len(arrays)))]
    return Tensor(name, datatype, pad(name, arrays, fill))


def pad(name: str, arrays: Sequence[AnyArray], fill: Any) -> AnyArray:
    """Stack arrays of one number of axes, each at its row's start; raises InvalidRequestError as ``stack_rows``."""
    if len(arrays) == 1:
        return arrays[0][np.newaxis]
    shape = (len(arrays), *np.max([array.shape for array in arrays], axis=0).astype(int).tolist())
    if math.prod(shape) > MAX_PADDED:
        raise InvalidRequestError(
            f"output {name!r} of {len(arrays)} images must have at most {MAX_PADDED:,} elements, it would be "
            f"{list(shape)}: send fewer images in a request, or ask for other outputs"
        )
    padded = np.full(shape, fill, np.result_type(*arrays) if arrays[0].dtype != object else object)
    for row, array in enumerate(arrays):
        where: Any = (row, *map(slice, array.shape), ...)  # ...: else an object without axes is put there whole
        padded[where] = array
    return padded


def _row_of(result: Result, names: Collection[str]) -> dict[str, AnyArray]:
    match result:
        case Classification():
            return {
                "num_classes": np.array(len(result), np.int32),
                "class_ids": result.class_ids,
                "scores": result.scores,
                "labels": _strings(result.labels, len(result)),
            }
        case Detections():
            return _detections(result, names)
        case SegmentationMap():
            alpha = {} if result.alpha is None else {"alpha": result.alpha}
            return {"mask": result.class_map, **alpha, "labels": _strings(result.labels, len(result.labels))}
        case Embedding():
            return {"embedding": result.vector}
        case CascadeResult():
            row = _detections(result.detections, names)
            row["transforms"] = result.transforms
            inner = [_row_of(each, names) for each in result.objects]
            for name in inner[0] if inner else ():
                if OBJECT + name in _OBJECTS and all(name in each for each in inner):
                    row[OBJECT + name] = _pad_objects(name, [each[name] for each in inner])
            return row


def _pad_objects(name: str, arrays: Sequence[AnyArray]) -> AnyArray:
    return pad(OBJECT + name, arrays, OUTPUTS[name][1])


def _detections(result: Detections, names: Collection[str]) -> dict[str, AnyArray]:
    row: dict[str, AnyArray] = {
        "num_detections": np.array(len(result), np.int32),
        "boxes": result.boxes,
        "scores": result.scores,
        "class_ids": result.class_ids,
        "labels": _strings(result.labels, len(result)),
    }
    if result.keypoints is not None:
        row["keypoints"] = result.keypoints
    if result.angles is not None:
        row["angles"] = result.angles
    if result.polygons is not None:
        sizes = [len(polygon) for polygon in result.polygons]
        points = np.zeros((len(sizes), max(sizes, default=0), 2), np.float32)
        for place, polygon in zip(points, result.polygons, strict=True):
            place[: len(polygon)] = polygon
        row["polygons"], row["polygon_sizes"] = points, np.array(sizes, np.int32)
    if result.masks is not None:
        row["mask_windows"] = pixel_windows(result.boxes).astype(np.int32)
        if not names or "masks" in names:
            row["masks"] = _bytes([encode_mask_png(mask) for mask in result.masks])
    return row


def _strings(labels: Sequence[str], count: int) -> AnyArray:
    """Names as BYTES, empty ones where the model has none."""
    return _bytes([label.encode() for label in labels] or [b""] * count)


def _bytes(items: Sequence[bytes]) -> AnyArray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _object(item: bytes) -> AnyArray:
    array = np.empty((), object)
    array[()] = item
    return array
