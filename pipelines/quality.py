"""What the picture of a face is like, and whether it is good enough to enrol: pure functions with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.types import AnyArray, ByteArray, FaceQuality

# Crops are measured at this side, so that sharpness means the same for every embedder: a small face that was enlarged
# to it has lost its fine structure, and is told as blurred.
MEASURED_PX = 112
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)  # ITU-R BT.601, as cv2.COLOR_RGB2GRAY


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """What a face must be to be enrolled; probes are never refused for these.

    The defaults were set on the 400 photos of the ORL set: all pass (sharpness from 121, mean level from 77), and none
    does once it is blurred by a Gaussian of 2 px at 112 px (sharpness up to 17) or has a tenth of its light (up to 14).

    Attributes:
        min_size_px: shorter side of the box.
        min_sharpness: variance of the Laplacian, levels squared.
        min_brightness: mean level.
        max_brightness: mean level.
        max_turn: of the nose from the middle between the eyes, in distances between the eyes; 0.35 is some 35 degrees.
    """

    min_size_px: float = 40.0
    min_sharpness: float = 25.0
    min_brightness: float = 40.0
    max_brightness: float = 225.0
    max_turn: float = 0.35


DEFAULT_LIMITS = QualityLimits()


def measure_face(crop: ByteArray, box: AnyArray, landmarks: AnyArray) -> FaceQuality:
    """Measure a face.

    Args:
        crop: ``(S, S, 3)`` uint8 RGB, aligned.
        box: ``(4,)`` xyxy in pixels of the image.
        landmarks: ``(P, 2)`` x, y in the image: both eyes, and the nose where ``P`` is 3 or more.
    """
    size_px = float(min(box[2] - box[0], box[3] - box[1]))
    return FaceQuality(size_px, *_light(crop), turn_of(landmarks) if len(landmarks) > 2 else None)


def measure_whole(image: ByteArray) -> FaceQuality:
    """Measure ``(H, W, 3)`` uint8 RGB that is a face as a whole; nothing tells where it looks."""
    return FaceQuality(float(min(image.shape[:2])), *_light(image), None)


def turn_of(landmarks: AnyArray) -> float:
    """How far the nose lies from the middle between the eyes along their line, in distances between the eyes.

    Args:
        landmarks: ``(3 or more, 2)`` x, y: left eye, right eye, nose.
    """
    left, right, nose = np.asarray(landmarks[:3], np.float64)
    across = right - left
    return float(abs((nose - (left + right) / 2) @ across) / (across @ across))


def problems_of(quality: FaceQuality, limits: QualityLimits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """Why a face is not good enough, each with what was measured and what must hold; empty where it is."""
    checks: Sequence[tuple[bool, str]] = (
        (
            quality.size_px < limits.min_size_px,
            f"too small: {quality.size_px:.0f} px, at least {limits.min_size_px:g} are needed",
        ),
        (
            quality.sharpness < limits.min_sharpness,
            f"blurred: sharpness {quality.sharpness:.1f}, at least {limits.min_sharpness:g} is needed",
        ),
        (
            quality.turn is not None and quality.turn > limits.max_turn,
            f"turned away: the nose is {quality.turn or 0.0:.2f} eye distances off the middle, at most "
            f"{limits.max_turn:g} are allowed",
        ),
        (
            quality.brightness < limits.min_brightness,
            f"too dark: mean level {quality.brightness:.0f}, at least {limits.min_brightness:g} is needed",
        ),
        (
            quality.brightness > limits.max_brightness,
            f"too bright: mean level {quality.brightness:.0f}, at most {limits.max_brightness:g} is allowed",
        ),
    )
    return tuple(text for failed, text in checks if failed)


def count_problem(count: int) -> str | None:
    """Why ``count`` faces are not one face; ``None`` for one."""
    if count == 1:
        return None
    return "no face" if count == 0 else f"several faces: {count}, one is needed"


def _light(crop: ByteArray) -> tuple[float, float]:
    """Sharpness and brightness of a crop at ``MEASURED_PX``."""
    # Area averaging where it shrinks: sampling alone would make noise out of fine structure.
    shrinks = min(crop.shape[:2]) > MEASURED_PX
    resized = cv2.resize(
        crop, (MEASURED_PX, MEASURED_PX), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    gray = resized.astype(np.float32) @ _LUMA
    laplacian = cv2.Laplacian(gray, cv2.CV_32F)
    return float(laplacian.var(dtype=np.float64)), float(gray.mean(dtype=np.float64))
