"""``labels/``: a YOLO text file an image, and ``classes.txt``."""

from __future__ import annotations

from serving.batch.outcome import Row
from serving.batch.writers.base import Target, utf8
from serving.batch.writers.files import place


class YoloTexts:
    """A line an object: class, centre x, centre y, width, height (of the image, 0 to 1), score.

    A model of outlines (masks are none) writes class and outline, as YOLO's segmentation labels do, then the score.
    An image without objects has an empty file.
    """

    def __init__(self, target: Target) -> None:
        self._folder = target.folder / "labels"
        self._folder.mkdir()
        names = [target.labels[i] for i in range(len(target.labels))]
        classes = "".join(f"{' '.join(name.split())}\n" for name in names)
        (self._folder / "classes.txt").write_text(utf8(classes), encoding="utf-8")

    def write(self, row: Row) -> None:
        """Write an image's file."""
        height, width = row.outcome.image_hw
        lines = []
        for found in row.result["detections"]:
            x1, y1, x2, y2 = found["box"]
            numbers = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
            if "polygon" in found:
                numbers = [value / side for point in found["polygon"] for value, side in zip(point, (width, height))]  # noqa: B905
            fields = " ".join(f"{number:.6f}" for number in (*numbers, found["score"]))
            lines.append(f"{found['class_id']} {fields}\n")
        place(self._folder, row, ".txt").write_text("".join(lines), encoding="utf-8")

    def close(self) -> None:
        """Every file is complete."""
