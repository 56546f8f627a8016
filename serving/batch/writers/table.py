"""``results.csv``: a line for each object, class or vector."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8

HEAD = ("index", "source", "sha256", "width", "height")
COLUMNS: dict[str, tuple[str, ...]] = {
    "classification": ("rank", "class_id", "label", "score"),
    "detection": ("rank", "class_id", "label", "score", "x1", "y1", "x2", "y2"),
    "segmentation": ("class_id", "label", "pixels", "fraction"),
}


class Table:
    """A line for each detection, class of a classification or class of a map; an embedding is one line.

    An image in which nothing was found has no line; ``results.jsonl`` has one for each image.
    """

    def __init__(self, target: Target) -> None:
        path = target.folder / "results.csv"
        self._file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._task = target.task
        self._has_header = False

    def write(self, row: Row) -> None:
        """Write an image's lines."""
        height, width = row.outcome.image_hw
        head = (row.index, utf8(row.entry.text), row.outcome.sha256, width, height)
        if not self._has_header:
            self._header(row)
        for line in _lines(self._task, row.result):
            self._csv.writerow((*head, *line))

    def close(self) -> None:
        """Complete the file; without any row it has a header where the task alone tells it."""
        if not self._has_header:
            self._csv.writerow((*HEAD, *COLUMNS.get(self._task, ())))
        self._file.close()

    def _header(self, row: Row) -> None:
        columns = COLUMNS.get(self._task) or tuple(f"v{i}" for i in range(len(row.result["vector"])))
        self._csv.writerow((*HEAD, *columns))
        self._has_header = True


def _lines(task: str, result: dict[str, Any]) -> Iterator[Sequence[Any]]:
    if task == "embedding":
        yield result["vector"]
    elif task == "detection":
        for rank, found in enumerate(result["detections"]):
            yield rank, found["class_id"], found.get("label", ""), found["score"], *found["box"]
    elif task == "classification":
        for rank, found in enumerate(result["classes"]):
            yield rank, found["class_id"], found.get("label", ""), found["score"]
    else:
        for found in result["classes"]:
            yield found["class_id"], found.get("label", ""), found["pixels"], found["fraction"]
