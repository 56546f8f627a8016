"""Masks out of a result's JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from pipelines.types import AnyArray, BoolArray
from serving.batch.errors import JobError


def class_map(result: Mapping[str, Any]) -> AnyArray:
    """A segmentation's ``(H, W)`` uint8 or uint16 classes."""
    return _decode(result["class_map_png"])


def object_mask(found: Mapping[str, Any], image_hw: tuple[int, int]) -> BoolArray:
    """One detection's mask laid into its image: ``(H, W)`` bool; raises JobError where the model gives none."""
    if "mask" not in found:
        raise JobError("masks must come from a model that has them, this detector gives boxes alone")
    laid, mask = np.zeros(image_hw, np.bool_), found["mask"]
    if mask["png"]:
        part = _decode(mask["png"]) != 0
        top, left = mask["top"], mask["left"]
        laid[top : top + part.shape[0], left : left + part.shape[1]] = part
    return laid


def _decode(png: str) -> AnyArray:
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None  # we wrote it
    return pixels
