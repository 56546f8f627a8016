"""Random brightness, contrast, saturation and hue."""

from __future__ import annotations

import cv2
import numpy as np

from export.training.augment.spec import Augment
from pipelines.types import ByteArray


def jitter(image: ByteArray, spec: Augment, rng: np.random.Generator) -> ByteArray:
    """Change the colours of ``(H, W, 3)`` uint8 RGB; every factor is drawn, also one that does not act."""
    brightness, contrast, saturation = (
        1 + strength * rng.uniform(-1, 1) for strength in (spec.brightness, spec.contrast, spec.saturation)
    )
    hue = spec.hue * rng.uniform(-1, 1)
    if (brightness, contrast, saturation, hue) == (1, 1, 1, 0):
        return image
    pixels = image.astype(np.float32) * np.float32(brightness)
    mean = np.float32(pixels.mean())
    pixels = mean + (pixels - mean) * np.float32(contrast)
    gray = (pixels @ np.array((0.299, 0.587, 0.114), np.float32))[..., None]  # ITU-R BT.601
    pixels = gray + (pixels - gray) * np.float32(saturation)
    changed = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    if hue == 0:
        return changed
    hsv = cv2.cvtColor(changed, cv2.COLOR_RGB2HSV_FULL)  # the circle has 256 steps, so uint8 wraps as it should.
    hsv[..., 0] += np.uint8(round(hue * 256) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)
