"""The metadata that Ultralytics' exporter writes into an ONNX file, read as data: task, names, size, keypoints.

The keys are those of its public export documentation: ``task``, ``names``, ``imgsz``, ``stride``, ``batch``,
``kpt_shape``; each value is a Python literal as text. YOLOv5's own exporter writes ``names`` and ``stride`` alone.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.doctor.feeding import CONVENTIONS
from export.doctor.sighting import Said
from pipelines.errors import GraphMismatchError

MAX_TEXT = 1_000_000
MAX_SIDE = 16_384
_TASKS = {
    "detect": "detection",
    "segment": "detection",
    "pose": "detection",
    "obb": "detection",
    "classify": "classification",
}


@dataclass(frozen=True, kw_only=True)
class UltralyticsMetadata:
    """What an Ultralytics file says of its model.

    Attributes:
        task: ``detect``, ``segment``, ``pose``, ``obb`` or ``classify``; ``None`` where the file is older than that.
        names: class names by index.
        size_hw: of the row, or ``None``.
        keypoints: number of points and values a point, or ``None``.
        license: in the file's words, or empty.
        description: one line, or empty.
    """

    task: str | None
    names: tuple[str, ...]
    size_hw: tuple[int, int] | None
    keypoints: tuple[int, int] | None
    license: str
    description: str


def read_metadata(properties: Mapping[str, str]) -> UltralyticsMetadata | None:
    """Read the metadata of a file, or ``None`` where it has none of this kind.

    Raises:
        GraphMismatchError: it has, but a value is no literal of the type that belongs there.
    """
    if not {"names", "stride"} <= properties.keys():
        return None
    task = properties.get("task")
    if task is not None and task not in _TASKS:
        raise GraphMismatchError(f"metadata task must be one of {', '.join(_TASKS)}, got {task[:80]!r}")
    return UltralyticsMetadata(
        task=task,
        names=_names(_literal("names", properties["names"])),
        size_hw=_size(_literal("imgsz", properties["imgsz"])) if "imgsz" in properties else None,
        keypoints=_keypoints(_literal("kpt_shape", properties["kpt_shape"])) if "kpt_shape" in properties else None,
        license=properties.get("license", ""),
        description=" ".join(properties.get("description", "").split()),
    )


def said_by(found: UltralyticsMetadata, *, fixed_hw: tuple[int, int] | None, layout: str) -> Said:
    """What the metadata says, in the doctor's words; ``fixed_hw`` is the graph's own size, which comes first."""
    height, width = fixed_hw or found.size_hw or (640, 640)
    size = f"{height}x{width}"
    if found.task == "classify":
        # Its own transform: shorter side to the size, centre crop, PIL's bilinear, pixels / 255 and nothing more.
        feed: dict[str, Any] = {
            "fit": "center_crop",
            "size": size,
            "resize_shorter": max(height, width),
            "resample": "pil_bilinear",
            "color": "rgb",
            "stats": "unit",
        }
    else:
        feed = {**CONVENTIONS["Ultralytics"], "size": size}
    return Said(
        by="the file's Ultralytics metadata",
        task=None if found.task is None else _TASKS[found.task],
        labels=found.names,
        keypoints=None if found.keypoints is None else (found.keypoints[0], found.keypoints[1] == 3),
        turns=found.task == "obb",
        masks=found.task == "segment",
        feed={**feed, "layout": layout},
    )


def _literal(key: str, text: str) -> Any:
    """A Python literal; nothing is ever evaluated."""
    if len(text) > MAX_TEXT:
        raise GraphMismatchError(f"metadata {key} must be at most {MAX_TEXT:,} characters, got {len(text):,}")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise GraphMismatchError(f"metadata {key} must be a Python literal, got {text[:80]!r}") from error


def _names(value: Any) -> tuple[str, ...]:
    """Names by index, from a list or from a mapping of 0, 1, 2 and so on."""
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise GraphMismatchError(f"metadata names must be numbered from 0 without a gap, got {list(value)[:10]}")
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        raise GraphMismatchError(f"metadata names must be texts by index, got {str(value)[:80]!r}")
    return tuple(value)


def _size(value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list | tuple) else ()
    if len(pair) == 1:
        pair *= 2
    if len(pair) != 2 or not all(type(side) is int and 1 <= side <= MAX_SIDE for side in pair):
        raise GraphMismatchError(f"metadata imgsz must be height and width in pixels, got {str(value)[:80]!r}")
    return pair[0], pair[1]


def _keypoints(value: Any) -> tuple[int, int]:
    if (
        not isinstance(value, list | tuple)
        or len(value) != 2
        or not all(type(one) is int for one in value)
        or value[0] < 1
        or value[1] not in (2, 3)
    ):
        raise GraphMismatchError(f"metadata kpt_shape must be [points, 2 or 3], got {str(value)[:80]!r}")
    return value[0], value[1]
