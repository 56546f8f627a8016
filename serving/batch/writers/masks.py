"""Masks as images (``masks/`` and ``masks.csv``) or as COCO's run lengths (``masks.jsonl``)."""

from __future__ import annotations

import base64
import csv
import json
from typing import Any

import numpy as np

from pipelines import rle
from pipelines.present import encode_png
from pipelines.types import AnyArray
from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8
from serving.batch.writers.files import place
from serving.batch.writers.pixels import class_map, object_mask


class MaskImages:
    """A PNG an image: classes of a map, or numbers of objects.

    Objects count from 1 in the order of the result, 0 is the background; where two overlap, the better one is seen
    (run lengths keep both). A map with a foreground probability has it in a second PNG.
    """

    def __init__(self, target: Target) -> None:
        self._folder = target.folder / "masks"
        self._folder.mkdir()
        self._file = (target.folder / "masks.csv").open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(("index", "source", "sha256", "mask", "alpha"))

    def write(self, row: Row) -> None:
        """Write an image's PNG."""
        result = row.result
        files = [self._png(row, _mask_png(result, row.outcome.image_hw), ".png")]
        if "alpha_png" in result:
            files.append(self._png(row, base64.b64decode(result["alpha_png"]), ".alpha.png"))
        names = [*files, ""][:2]
        self._csv.writerow((row.index, utf8(row.entry.text), row.outcome.sha256, *names))

    def close(self) -> None:
        """Complete the files."""
        self._file.close()

    def _png(self, row: Row, data: bytes, suffix: str) -> str:
        path = place(self._folder, row, suffix)
        path.write_bytes(data)
        return utf8(str(path.relative_to(self._folder.parent)))


class MaskRuns:
    """A line an image: ``size`` and, for each class above 0 or each object, its ``counts`` as COCO's text."""

    def __init__(self, target: Target) -> None:
        self._file = (target.folder / "masks.jsonl").open("w", encoding="ascii", newline="\n")

    def write(self, row: Row) -> None:
        """Write a line."""
        masks = _runs(row.result, row.outcome.image_hw)
        self._file.write(json.dumps({**row.head(), "size": list(row.outcome.image_hw), "masks": masks}) + "\n")

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def _mask_png(result: dict[str, Any], image_hw: tuple[int, int]) -> bytes:
    if "class_map_png" in result:
        return base64.b64decode(result["class_map_png"])
    return encode_png(_numbered(result["detections"], image_hw))


def _numbered(objects: list[dict[str, Any]], image_hw: tuple[int, int]) -> AnyArray:
    numbers = np.zeros(image_hw, np.uint8 if len(objects) < 256 else np.uint16)
    for i in reversed(range(len(objects))):
        numbers[object_mask(objects[i], image_hw)] = i + 1
    return numbers


def _runs(result: dict[str, Any], image_hw: tuple[int, int]) -> list[dict[str, Any]]:
    if "class_map_png" in result:
        runs = rle.encode_classes(class_map(result))
        return [{"class_id": class_id, "counts": rle.compress(counts)} for class_id, counts in runs.items()]
    return [
        {
            "class_id": found["class_id"],
            "score": found["score"],
            "counts": rle.compress(rle.encode(object_mask(found, image_hw))),
        }
        for found in result["detections"]
    ]
