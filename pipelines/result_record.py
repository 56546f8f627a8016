"""Results as plain arrays, the way a golden record holds them, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.types import (
    AnyArray,
    BoolArray,
    ByteArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    FloatArray,
    ModelResult,
    Result,
    SegmentationMap,
    pixel_windows,
)

FIELDS: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "classification": (Classification, ("class_ids", "scores")),
    "detection": (Detections, ("boxes", "scores", "class_ids", "keypoints", "polygons", "masks", "angles")),
    "segmentation": (SegmentationMap, ("class_map", "alpha")),
    "embedding": (Embedding, ("vector",)),
}


def to_arrays(result: Result) -> dict[str, AnyArray]:
    """One array a field that the result has; labels and skeleton are the manifest's and stay out.

    ``polygons`` are one ``(N, P, 2)`` array. ``masks`` are the bits of all of them, row by row, one after the other, in
    uint8 as ``numpy.packbits`` lays them; the boxes say how large each is. A cascade's arrays are ``detections/FIELD``,
    ``transforms`` and ``objects/<i>/TASK/FIELD``.
    """
    if isinstance(result, CascadeResult):
        return dict(_nested(result))
    names = next(names for kind, names in FIELDS.values() if isinstance(result, kind))
    arrays = {name: value for name in names if (value := getattr(result, name)) is not None}
    if "polygons" in arrays:
        arrays["polygons"] = _stack(arrays["polygons"])
    if "masks" in arrays:
        arrays["masks"] = _pack(arrays["masks"])
    return arrays


def from_arrays(task: str, arrays: Mapping[str, AnyArray]) -> Result:
    """The result that :func:`to_arrays` laid out; raises ValueError where the arrays are not one of ``task``."""
    if task == "cascade":
        return _from_nested(arrays)
    return _one_from_arrays(task, arrays)


def _nested(result: CascadeResult) -> Iterator[tuple[str, AnyArray]]:
    yield "transforms", result.transforms
    parts: list[tuple[str, Result]] = [("detections", result.detections)]
    parts += [(f"objects/{i}/{_task_of(each)}", each) for i, each in enumerate(result.objects)]
    for place, part in parts:
        yield from ((f"{place}/{field}", values) for field, values in to_arrays(part).items())


def _from_nested(arrays: Mapping[str, AnyArray]) -> CascadeResult:
    parts: dict[tuple[str, ...], dict[str, AnyArray]] = {}
    for name, values in arrays.items():
        *place, field = name.split("/")
        parts.setdefault(tuple(place), {})[field] = values
    detections = _one_from_arrays("detection", parts.pop(("detections",), {}))
    transforms = parts.pop((), {}).get("transforms")
    if transforms is None or not all(
        len(place) == 3 and place[0] == "objects" and place[1].isdecimal() and place[2] in FIELDS for place in parts
    ):
        raise ValueError(f"arrays must be detections, transforms and objects/<i>/<task>/<field>, got {sorted(arrays)}")
    in_order = sorted(parts, key=lambda place: int(place[1]))
    objects = tuple(_one_from_arrays(place[2], parts[place]) for place in in_order)
    return CascadeResult(detections, objects, transforms)  # type: ignore[arg-type]  # which it checks itself


def _task_of(result: Result) -> str:
    return next(task for task, (kind, _) in FIELDS.items() if isinstance(result, kind))


def _one_from_arrays(task: str, arrays: Mapping[str, AnyArray]) -> ModelResult:
    kind, names = FIELDS[task]
    values: dict[str, Any] = {name: arrays[name] for name in names if name in arrays}
    if "polygons" in values:
        values["polygons"] = tuple(values["polygons"])
    if "masks" in values and "boxes" in values:
        values["masks"] = _unpack(values["masks"], values["boxes"])
    try:
        result: ModelResult = kind(**values)
    except TypeError as error:
        raise ValueError(str(error)) from error
    return result


def _stack(polygons: Sequence[FloatArray]) -> FloatArray:
    return np.stack(polygons) if polygons else np.empty((0, 4, 2), np.float32)


def _pack(masks: Sequence[BoolArray]) -> ByteArray:
    return np.packbits(np.concatenate([np.empty(0, np.bool_), *(mask.ravel() for mask in masks)]))


def _unpack(bits: ByteArray, boxes: FloatArray) -> tuple[BoolArray, ...]:
    windows = pixel_windows(boxes)
    sides = windows[:, 2:] - windows[:, :2]
    ends = np.cumsum(sides.prod(axis=1))
    total = int(ends[-1]) if len(ends) else 0
    if bits.dtype != np.uint8 or bits.shape != (-(-total // 8),):
        raise ValueError(f"masks must be the {total:,} bits that the boxes ask for, got {bits.dtype} {bits.shape}")
    flat = np.unpackbits(bits, count=total).astype(np.bool_)
    parts = np.split(flat, ends[:-1]) if len(ends) else []
    return tuple(part.reshape(height, width) for part, (width, height) in zip(parts, sides.tolist(), strict=True))
