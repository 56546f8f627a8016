"""Images, engines that answer without a model, and runs of jobs over them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipelines.image import decode_image
from pipelines.types import ByteArray, Classification, Detections, Embedding, FloatArray, Result, SegmentationMap
from serving.batch.engine import Engine, EngineContext, Finish, T
from serving.batch.job import Job
from serving.batch.run import Request, run_job
from serving.batch.sources import Choices, Sources
from serving.batch.summary import Summary
from tests.corpus import encode, picture

LABELS = ("cat", "dog", "bird")
DATA_FILES = ("results.jsonl", "errors.jsonl")
VIDEO_FPS = 10


def image(number: int, size_hw: tuple[int, int] = (24, 40)) -> bytes:
    """A small PNG; each number has its own pixels."""
    pixels = picture(size_hw)
    pixels[0, 0] = (number % 256, number // 256 % 256, 77)
    return encode(pixels, "PNG")


def image_folder(
    folder: Path, count: int, *, bad: tuple[int, ...] = (), equal: Mapping[int, int] | None = None
) -> Path:
    """``count`` images; those of ``bad`` are none, and ``equal`` gives one the bytes of another."""
    folder.mkdir(parents=True)
    for i in range(count):
        data = b"no image %d" % i if i in bad else image((equal or {}).get(i, i))
        (folder / f"{i:04}.png").write_bytes(data)
    return folder


def video_file(path: Path, count: int) -> Path:
    """``count`` frames of a square that moves, as motion JPEG."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), VIDEO_FPS, (64, 48))
    for i in range(count):
        frame = np.full((48, 64, 3), 40, np.uint8)
        frame[10:30, i : i + 20] = (0, 128, 255)
        writer.write(frame)
    writer.release()
    return path


def _f32(values: Any) -> FloatArray:
    return np.array(values, np.float32)


def detections(data: bytes) -> Detections:
    """Up to three boxes that depend on the bytes alone."""
    digest = hashlib.sha256(data).digest()
    count = digest[0] % 4
    boxes = _f32([[i, i + 1, i + 9 + digest[i + 1] % 7, i + 12] for i in range(count)]).reshape(count, 4)
    ids = np.array([digest[i + 8] % 3 for i in range(count)], np.int64)
    scores = _f32(sorted((digest[i + 16] / 255 for i in range(count)), reverse=True))
    masks = tuple(np.ones((int(y2 - y1), int(x2 - x1)), np.bool_) for x1, y1, x2, y2 in boxes)
    return Detections(boxes, scores, ids, tuple(LABELS[i] for i in ids), masks=masks)


def classification(data: bytes) -> Classification:
    share = hashlib.sha256(data).digest()[0] / 255
    return Classification(
        np.array([1, 0], np.int64), _f32([max(share, 1 - share), min(share, 1 - share)]), LABELS[1::-1]
    )


def embedding(data: bytes) -> Embedding:
    return Embedding(np.frombuffer(hashlib.sha256(data).digest(), np.uint8).astype(np.float32) / np.float32(3))


def segmentation(data: bytes) -> SegmentationMap:
    bits = np.frombuffer(hashlib.sha256(data).digest() * 30, np.uint8).reshape(24, 40) % 3
    return SegmentationMap(bits, labels=LABELS)


RESULTS: Mapping[str, Callable[[bytes], Result]] = {
    "detection": detections,
    "classification": classification,
    "embedding": embedding,
    "segmentation": segmentation,
}


class FakeEngine:
    """Answers by the bytes alone, and keeps what it was asked; ``fault`` may raise instead."""

    def __init__(self, task: str = "detection", *, fault: Callable[[bytes], None] = lambda _: None) -> None:
        self.model, self.version, self.task, self.labels = "fake", 1, task, LABELS
        self.manifest_json = json.dumps({"name": "fake", "task": task})
        self.concurrency, self.package = 4, None
        self.asked: list[bytes] = []
        self._fault = fault

    async def answer(self, data: bytes, finish: Finish[T]) -> T:
        self.asked.append(data)
        await asyncio.sleep(0)
        self._fault(data)
        pixels = self.decode(data)
        return await asyncio.to_thread(finish, RESULTS[self.task](data), pixels.shape[:2], 0.001)

    def decode(self, data: bytes) -> ByteArray:
        return decode_image(data, exif="apply", alpha="white")


@asynccontextmanager
async def opened(engine: Engine) -> AsyncIterator[Engine]:
    yield engine


def run(out: Path, *sources: Path | str, engine: Engine | EngineContext | None = None, **over: Any) -> Summary:
    """Run a job; further keywords are fields of its request, ``stride`` and ``column`` of its sources."""
    choices = Choices(**{name: over.pop(name) for name in ("stride", "column") if name in over})
    words = tuple(os.fsencode(source) for source in sources)
    request = Request(sources=Sources(words, choices), out=out, **over)
    engine = engine or FakeEngine()
    context = opened(engine) if isinstance(engine, FakeEngine) else engine
    return run_job(request, context, begin=Job)  # type: ignore[arg-type]


def rows(out: Path, name: str = "results.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def data_files(out: Path) -> dict[str, bytes]:
    """Every file of an output folder that must not differ from run to run, by its path inside."""
    found = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith((".ocella/", "summary.", "contact_sheet"))
    }
