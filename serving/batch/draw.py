"""Pictures of results: overlays of the images' own size, and thumbnails for the contact sheet."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2

from pipelines.draw import draw
from pipelines.present import encode_png
from pipelines.types import ByteArray, Result

THUMBNAIL_HW = (180, 240)


@dataclass(frozen=True)
class Overlays:
    """A folder of overlays, one a content: ``<SHA-256>.png``, written whole or not at all."""

    folder: Path

    def path(self, sha256: str) -> Path:
        """Where the overlay of a content lies."""
        return self.folder / f"{sha256}.png"

    def resolved(self) -> Overlays:
        """The same folder by its absolute path, for a process with another working directory."""
        return Overlays(self.folder.resolve())

    def has(self, sha256: str) -> bool:
        """Whether a content's overlay is there."""
        return self.path(sha256).exists()

    def write(self, sha256: str, drawn: ByteArray) -> None:
        """Write an overlay under a temporary name and rename it."""
        path = self.path(sha256)
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(encode_png(drawn))
        os.replace(temporary, path)  # noqa: PTH105, the same on every system


def overlay(image: ByteArray, result: Result) -> ByteArray:
    """A result drawn on its ``(H, W, 3)`` RGB image."""
    return draw(image, result)


def thumbnail(drawn: ByteArray) -> bytes:
    """JPEG of an overlay, made small enough for ``THUMBNAIL_HW``."""
    height, width = drawn.shape[:2]
    scale = min(1.0, THUMBNAIL_HW[0] / height, THUMBNAIL_HW[1] / width)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.cvtColor(cv2.resize(drawn, size_wh, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
