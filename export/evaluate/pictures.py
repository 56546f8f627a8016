"""The worst images as pictures: what is right on the left, what was answered on the right."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from export.evaluate.measured import Worst
from export.evaluate.predictor import Predictor
from pipelines.draw import draw
from pipelines.image import decode_image
from pipelines.types import ByteArray, Detections, Embedding, Result

MAX_SIDE = 640
MIN_SIDE = 160
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """One of the worst: a caption, the files, and images as ``data:`` addresses with what each shows."""

    caption: str
    names: tuple[str, ...]
    images: tuple[tuple[str, str], ...]


def picture(worst: Worst, predictor: Predictor | None, *, root: Path, score_threshold: float) -> Picture:
    """Draw one; the files are named from ``root`` on."""
    images: list[tuple[str, str]] = []
    for i, (sample, truth) in enumerate(zip(worst.samples, worst.truths, strict=True)):
        data = sample.path.read_bytes()
        pixels, answer = _pixels(data, predictor), _answer(worst, i, data, predictor)
        if truth is not None:
            images.append(("right", _address(_overlay(pixels, truth, score_threshold=0.0))))
        if answer is not None:
            shown = "" if isinstance(answer, Embedding) else "answered"
            images.append((shown, _address(_overlay(pixels, answer, score_threshold=score_threshold))))
    return Picture(worst.caption, tuple(_name(sample.path, root) for sample in worst.samples), tuple(images))


def _answer(worst: Worst, i: int, data: bytes, predictor: Predictor | None) -> Result | None:
    if worst.answers:
        return worst.answers[i]
    return predictor.answer(data) if predictor else None


def _name(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _pixels(data: bytes, predictor: Predictor | None) -> ByteArray:
    return predictor.decode(data) if predictor else decode_image(data, exif="apply", alpha="white")


def _overlay(pixels: ByteArray, result: Result, *, score_threshold: float) -> ByteArray:
    """The result on its image, which is scaled first: lines and letters keep their size."""
    if isinstance(result, Embedding):
        return _scaled(pixels, _factor(pixels.shape[:2]))[0]
    if isinstance(result, Detections):
        result = result[result.scores >= score_threshold]
        scaled, factor = _scaled(pixels, _factor(pixels.shape[:2]))
        plain = Detections(result.boxes * np.float32(factor), result.scores, result.class_ids, result.labels)
        return draw(scaled, plain)
    if hasattr(result, "class_map"):
        return _scaled(draw(pixels, result), _factor(pixels.shape[:2]))[0]
    return draw(_scaled(pixels, _factor(pixels.shape[:2]))[0], result)


def _factor(hw: Sequence[int]) -> float:
    """How much an image is scaled so that its longer side is between ``MIN_SIDE`` and ``MAX_SIDE``."""
    longer = max(hw)
    return min(MAX_SIDE / longer, max(1.0, MIN_SIDE / longer))


def _scaled(pixels: ByteArray, factor: float) -> tuple[ByteArray, float]:
    if factor == 1:
        return pixels, factor
    kernel = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=kernel), np.uint8), factor


def _address(pixels: ByteArray) -> str:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(bytes(data)).decode()}"
