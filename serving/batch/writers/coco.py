"""``coco.json``: detections in COCO's results format, and ``coco_images.json`` with the ids that it uses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pipelines import rle
from serving.batch.errors import JobError
from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8
from serving.batch.writers.pixels import object_mask


class CocoResults:
    """A list of detections: ``image_id``, ``category_id``, ``bbox`` xywh, ``score``, and mask, outline or keypoints."""

    def __init__(self, target: Target) -> None:
        """Raises JobError where the truth file is none, or shares no class with the model."""
        truth = target.coco_truth
        self._ids: _OwnIds | _TruthIds = _TruthIds(truth, target.labels) if truth else _OwnIds(target)
        self._results = _Array((target.folder / "coco.json").open("w", encoding="ascii", newline="\n"))

    def write(self, row: Row) -> None:
        """Append an image's detections; those of a class that the truth does not know are left out."""
        image_id = self._ids.image(row)
        for found in row.result["detections"]:
            category_id = self._ids.category(found)
            if category_id is not None:
                self._results.append(_detection(found, image_id, category_id, row.outcome.image_hw))

    def close(self) -> None:
        """Complete the files."""
        self._results.close()
        self._ids.close()


class _OwnIds:
    """Ids from 1: an image's by its index, a category's by its class; written beside the results."""

    def __init__(self, target: Target) -> None:
        self._file = (target.folder / "coco_images.json").open("w", encoding="ascii", newline="\n")
        categories = [{"id": i + 1, "name": label} for i, label in enumerate(target.labels)]
        self._file.write(f'{{"categories": {json.dumps(categories)}, "images": ')
        self._images = _Array(self._file, tail="]}\n")

    def image(self, row: Row) -> int:
        height, width = row.outcome.image_hw
        self._images.append({"id": row.index + 1, "file_name": row.entry.text, "width": width, "height": height})
        return row.index + 1

    def category(self, found: Mapping[str, Any]) -> int | None:
        return int(found["class_id"]) + 1

    def close(self) -> None:
        self._images.close()


class _TruthIds:
    """Ids of a COCO file: an image's by its path or its file's name, a category's by its label."""

    def __init__(self, path: Path, labels: tuple[str, ...]) -> None:
        self._path = path
        self._taken: dict[int, str] = {}  # no larger than the truth
        try:
            truth = json.loads(path.read_bytes())
            self._images = {str(image["file_name"]): int(image["id"]) for image in truth["images"]}
            self._categories = {str(one["name"]): int(one["id"]) for one in truth["categories"]}
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(f"{path} must be a COCO file with images and categories: {error!r}") from error
        if not set(labels) & self._categories.keys():
            raise JobError(f"{path} must share a class with the model, it has {sorted(self._categories)[:5]}")

    def image(self, row: Row) -> int:
        name = utf8(row.entry.text)
        relative = row.entry.relative.decode("utf-8", "backslashreplace")
        for key in (name, relative, relative.rpartition("/")[2]):
            if key in self._images:
                return self._once(self._images[key], name)
        raise JobError(f"{self._path} must list every image of the job, it has none called {relative}")

    def _once(self, image_id: int, name: str) -> int:
        if image_id in self._taken:
            names = f"{self._taken[image_id]} and {name}"
            raise JobError(f"{self._path} must have an image for each of the job, {names} are one of its images")
        self._taken[image_id] = name
        return image_id

    def category(self, found: Mapping[str, Any]) -> int | None:
        return self._categories.get(found.get("label", ""))

    def close(self) -> None:
        """Nothing of our own was written."""


class _Array:
    """A JSON array written item by item."""

    def __init__(self, file: TextIO, *, tail: str = "]\n") -> None:
        self._file, self._tail, self._separator = file, tail, "[\n"

    def append(self, item: Mapping[str, Any]) -> None:
        self._file.write(self._separator + json.dumps(item))
        self._separator = ",\n"

    def close(self) -> None:
        self._file.write("[" + self._tail if self._separator == "[\n" else "\n" + self._tail)
        self._file.close()


def _detection(found: Mapping[str, Any], image_id: int, category_id: int, image_hw: tuple[int, int]) -> dict[str, Any]:
    x1, y1, x2, y2 = found["box"]
    row = {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": found["score"],
    }
    if "mask" in found:
        counts = rle.compress(rle.encode(object_mask(found, image_hw)))
        row["segmentation"] = {"size": list(image_hw), "counts": counts}
    elif "polygon" in found:
        row["segmentation"] = [list(_flat(found["polygon"]))]
    if "keypoints" in found:
        row["keypoints"] = list(_flat(found["keypoints"]))
    return row


def _flat(points: list[list[float]]) -> Iterator[float]:
    for point in points:
        yield from point
