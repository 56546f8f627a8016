"""Reading COCO results: boxes that a detector, ours or another, has left in a JSON file."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from export.data.collect import read_text
from export.data.dataset import Dataset, DatasetError
from export.metrics.detection import FoundBoxes


def read_coco_results(path: Path, dataset: Dataset, *, max_detections: int) -> tuple[FoundBoxes, ...]:
    """Read a list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``, ids as the data's.

    Returns:
        What was found on each sample, best first, at most ``max_detections`` an image.

    Raises:
        DatasetError: the data is no COCO file, or an entry is malformed or of an image or category that it has not.
    """
    if not dataset.category_ids:
        raise DatasetError(f"COCO results need a COCO data set for their ids, {dataset.root} is {dataset.format}")
    try:
        raw = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} must be JSON: {error}") from error
    if not isinstance(raw, list):
        raise DatasetError(f"{path} must hold a list of results, got {type(raw).__name__}")
    classes = {category: class_id for class_id, category in enumerate(dataset.category_ids)}
    images = {sample.image_id for sample in dataset.samples}
    found: dict[int, list[tuple[float, int, list[float]]]] = defaultdict(list)
    for place, entry in enumerate(raw):
        try:
            image, row = _read(entry, classes)
        except ValueError as error:
            raise DatasetError(f"{path}: result {place}: {error}") from error
        if image not in images:
            raise DatasetError(f"{path}: result {place}: image_id must be one of the data's images, got {image}")
        found[image].append(row)
    return tuple(_boxes(found.get(sample.image_id or 0, []), max_detections) for sample in dataset.samples)


def _read(entry: Any, classes: dict[int, int]) -> tuple[int, tuple[float, int, list[float]]]:
    if not isinstance(entry, dict):
        raise ValueError(f"must be an object, got {type(entry).__name__}")
    image, category, bbox, score = (entry.get(key) for key in ("image_id", "category_id", "bbox", "score"))
    if type(image) is not int:
        raise ValueError(f"image_id must be a whole number, got {image!r:.40}")
    if type(category) is not int or category not in classes:
        raise ValueError(f"category_id must be one of the data's categories, got {category!r:.40}")
    numbers = [*bbox, score] if isinstance(bbox, list) and len(bbox) == 4 else []
    if not numbers or not all(type(value) in (int, float) and math.isfinite(value) for value in numbers):
        raise ValueError(f"bbox must be [x, y, width, height] and score a number, got {bbox!r:.60} and {score!r:.20}")
    x, y, width, height = (float(value) for value in numbers[:4])
    return image, (float(numbers[4]), classes[category], [x, y, x + width, y + height])


def _boxes(rows: list[tuple[float, int, list[float]]], limit: int) -> FoundBoxes:
    best = sorted(rows, key=lambda row: -row[0])[:limit]
    return FoundBoxes(
        np.array([row[2] for row in best], np.float32).reshape(-1, 4),
        np.array([row[0] for row in best], np.float32),
        np.array([row[1] for row in best], np.int64),
    )
