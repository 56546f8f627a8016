"""Results as plain JSON values and as one line of text."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from pipelines.types import (
    AnyArray,
    BoolArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    Result,
    SegmentationMap,
    pixel_windows,
)


def to_json(result: Result) -> dict[str, Any]:
    """A result as JSON values: boxes in pixels of the original image, masks as base64 PNG.

    An object's mask is the part of the image that its box touches: ``left`` and ``top`` say where it lies. An object of
    a cascade has the second model's answer as ``result``, in pixels of its crop: ``transform`` leads there.
    """
    if isinstance(result, Classification):
        return {"task": "classification", "classes": _classes(result)}
    if isinstance(result, Detections):
        return {"task": "detection", "detections": [_detection(result, i) for i in range(len(result))]}
    if isinstance(result, Embedding):
        return {"task": "embedding", "vector": [float(value) for value in result.vector]}
    if isinstance(result, CascadeResult):
        return {"task": "cascade", "objects": [_object(result, i) for i in range(len(result))]}
    return {"task": "segmentation", **_segmentation(result)}


def summary(result: Result) -> str:
    """A result in a few words for a table."""
    if isinstance(result, Classification):
        names = result.labels or tuple(str(class_id) for class_id in result.class_ids)
        return ", ".join(f"{name} {score:.1%}" for name, score in zip(names[:3], result.scores[:3], strict=True))
    if isinstance(result, Detections):
        names = result.labels or tuple(f"class {class_id}" for class_id in result.class_ids)
        counts = ", ".join(f"{count} {name}" for name, count in Counter(names).most_common(5)) or "nothing found"
        best = f" (best score {result.scores[0]:.2f})" if len(result) else ""
        more = [name for name, has in (("masks", result.masks), ("landmarks", result.keypoints)) if has is not None]
        return counts + (f" with {' and '.join(more)}" if more and len(result) else "") + best
    if isinstance(result, Embedding):
        return f"vector of {len(result.vector)}, length {float(np.linalg.norm(result.vector)):.3f}"
    if isinstance(result, CascadeResult):
        return summary(result.detections) + _nested_summary(result)
    return _coverage(result)


def encode_png(image: AnyArray) -> bytes:
    """Encode ``(H, W)`` or RGB ``(H, W, 3)`` pixels, 8 or 16 bit, without loss."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    done, data = cv2.imencode(".png", bgr)
    if not done:
        raise ValueError(f"pixels must be (H, W) or (H, W, 3) of 8 or 16 bit, got {image.dtype} {image.shape}")
    return bytes(data)


def encode_mask_png(mask: BoolArray) -> bytes:
    """Encode ``(h, w)`` bool pixels at one bit each, without loss; no bytes where there are no pixels."""
    if not mask.size:
        return b""
    _, data = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    return bytes(data)


def _classes(result: Classification) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"class_id": int(class_id), "score": float(score)}
        for class_id, score in zip(result.class_ids, result.scores, strict=True)
    ]
    for row, label in zip(rows, result.labels, strict=False):
        row["label"] = label
    return rows


def _detection(result: Detections, i: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "box": [float(value) for value in result.boxes[i]],
        "score": float(result.scores[i]),
        "class_id": int(result.class_ids[i]),
    }
    if result.labels:
        row["label"] = result.labels[i]
    if result.keypoints is not None:
        row["keypoints"] = result.keypoints[i].tolist()
    if result.polygons is not None:
        row["polygon"] = result.polygons[i].tolist()
    if result.angles is not None:
        row["angle"] = float(result.angles[i])
    if result.masks is not None:
        left, top, _, _ = pixel_windows(result.boxes[[i]])[0].tolist()
        row["mask"] = {"left": left, "top": top, "png": base64.b64encode(encode_mask_png(result.masks[i])).decode()}
    return row


def _object(result: CascadeResult, i: int) -> dict[str, Any]:
    nested = {"transform": result.transforms[i].tolist(), "result": to_json(result.objects[i])}
    quality = {} if result.qualities is None else {"quality": asdict(result.qualities[i])}
    return _detection(result.detections, i) | nested | quality


def _nested_summary(result: CascadeResult) -> str:
    """The second model's answers: the best classes by how often they come, else what the first object has."""
    if not len(result):
        return ""
    if not isinstance(result.objects[0], Classification):
        return f", the first with {summary(result.objects[0])}"
    best = Counter(
        next(iter(each.labels or map(str, each.class_ids)), "no class")
        for each in result.objects
        if isinstance(each, Classification)
    )
    return ": " + ", ".join(f"{count} {name}" for name, count in best.most_common(5))


def _segmentation(result: SegmentationMap) -> dict[str, Any]:
    present, counts = np.unique(result.class_map, return_counts=True)
    classes = []
    for class_id, pixels in zip(present.tolist(), counts.tolist(), strict=True):
        row = {"class_id": class_id, "pixels": pixels, "fraction": pixels / result.class_map.size}
        if result.labels:
            row["label"] = result.labels[class_id]
        classes.append(row)
    masks = {"class_map": result.class_map, "alpha": result.alpha}
    pngs = {
        f"{name}_png": base64.b64encode(encode_png(mask)).decode() for name, mask in masks.items() if mask is not None
    }
    return {"classes": classes, **pngs}


def _coverage(result: SegmentationMap) -> str:
    present, counts = np.unique(result.class_map, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    parts = [
        f"{result.labels[class_id] if result.labels else f'class {class_id}'} {count / result.class_map.size:.1%}"
        for class_id, count in zip(present[order].tolist(), counts[order].tolist(), strict=True)
        if class_id != 0
    ]
    return ", ".join(parts[:3]) or "background only"
