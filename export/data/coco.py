"""COCO JSON: images, categories and annotations with boxes, outlines and crowds in one file."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from export.data.collect import Collector, RawBox, ReadOptions, inside, read_text, require_folder
from export.data.dataset import Dataset, DatasetError, MaskTarget, Sample, Task
from export.data.outlines import Outline, outline_area, outline_bounds, paint, read_outline


@dataclass(frozen=True)
class CocoFile:
    """The parts of one COCO file that were read with suspicion.

    Attributes:
        path: of the file.
        images: path by image id, inside the images' folder.
        categories: class id by category id.
        labels: category names, by class id.
        annotations: JSON objects by image id.
    """

    path: Path
    images: Mapping[int, Path]
    categories: Mapping[int, int]
    labels: tuple[str, ...]
    annotations: Mapping[int, list[dict[str, Any]]]


def read_coco(root: Path, options: ReadOptions) -> Dataset:
    """Read the boxes of a COCO file, or of the one JSON file of a folder (or of its ``annotations`` folder).

    Images are looked for in ``images`` and beside the file, or beside its folder ``annotations``; first in ``val2017``
    of these for ``instances_val2017.json``, as COCO itself is laid out. The classes are the categories in the order of
    their ids. An object's area is the file's own, else that of its outline, else that of its box; one without ``bbox``
    gets the bounds of its outline. An image without annotations holds no object.
    """
    collector = Collector(options.on_error)
    file = read_coco_file(root, options, collector)

    def target(annotations: list[dict[str, Any]], size_hw: tuple[int, int]) -> Any:
        raw = [box for one in annotations if (box := _box(one, file, size_hw, collector)) is not None]
        return collector.boxes(raw, size_hw, file.path)

    return _dataset(file, root, collector, task="detection", target=target)


def read_coco_masks(root: Path, options: ReadOptions) -> Dataset:
    """Read the outlines of a COCO file as a class for every pixel: 0 the background, then the categories.

    Outlines are painted from the largest to the smallest, so that what lies on top stays visible; crowds are not
    counted. They are painted when a target's class map is asked for.
    """
    collector = Collector(options.on_error)
    file = read_coco_file(root, options, collector)
    if len(file.labels) > 254:
        raise DatasetError(f"{file.path} must have at most 254 categories for masks, it has {len(file.labels)}")

    def target(annotations: list[dict[str, Any]], size_hw: tuple[int, int]) -> MaskTarget:
        parts: list[tuple[Outline, int, bool]] = []
        for one in annotations:
            class_id = _class_id(one, file, collector)
            outline = None if class_id is None else _outline(one, file, size_hw, collector)
            if class_id is not None and outline is not None:
                parts.append((outline, class_id + 1, bool(one.get("iscrowd"))))
        return MaskTarget(partial(paint, tuple(parts), size_hw))

    return _dataset(file, root, collector, task="segmentation", target=target)


def read_coco_file(root: Path, options: ReadOptions, collector: Collector) -> CocoFile:
    """Read the file and check its ids; annotations of unknown images are problems.

    Raises:
        DatasetError: it is no COCO file, an id is there twice, or a name leads out of the images' folder.
    """
    path = annotation_file(root)
    raw = _parse(path)
    categories = _by_id(path, raw, "categories")
    labels = tuple(str(categories[key].get("name", key)) for key in sorted(categories))
    if len(set(labels)) < len(labels):
        raise DatasetError(f"{path} must name each category once, got {', '.join(labels[:20])}")
    folder = _images_folder(root, path, options)
    images: dict[int, Path] = {}
    seen: set[Path] = set()
    for key, row in _by_id(path, raw, "images").items():
        try:
            image = inside(folder(str(row.get("file_name", ""))), str(row.get("file_name", "")))
        except ValueError as error:
            raise DatasetError(f"{path}: image {key}: {error}") from error
        if image in seen:
            collector.add(path, "image", f"each image must be listed once, {image.name} is there twice")
        else:
            images[key] = image
            seen.add(image)
    annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(path, raw, "annotations"):
        if row.get("image_id") in images:
            annotations[row["image_id"]].append(row)
        else:
            collector.add(
                path, "box", f"annotation {row.get('id')} must be of a listed image, got {row.get('image_id')}"
            )
    places = {key: place for place, key in enumerate(sorted(categories))}
    return CocoFile(path, images, places, labels, annotations)


def annotation_file(root: Path) -> Path:
    """The COCO file that ``root`` is, or the only JSON file of the folder, or of its ``annotations`` folder."""
    if root.is_file():
        return root
    found = sorted(require_folder(root).glob("*.json")) or sorted((root / "annotations").glob("*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise DatasetError(f"{root} must hold one JSON file (or be one), it holds {names}")
    return found[0]


def _images_folder(root: Path, path: Path, options: ReadOptions) -> Callable[[str], Path]:
    """Where an image of a name lies: the first of the places that holds it, else the first place there is."""
    if options.images:
        return lambda _: require_folder(options.images or root)
    tops = [path.parent, path.parent.parent] if path.parent.name == "annotations" else [path.parent]
    split = path.stem.rpartition("_")[2]
    names = (f"images/{split}", split, "images", "")
    places = [top / name for top in tops for name in names if (top / name).is_dir()]
    return lambda name: next((place for place in places if (place / name).is_file()), places[0])


def _parse(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} must be JSON: {error}") from error
    if not isinstance(raw, dict) or not {"images", "annotations", "categories"} <= raw.keys():
        raise DatasetError(f"{path} must be a JSON object with images, annotations and categories")
    return raw


def _rows(path: Path, raw: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    rows = raw[name]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{path}: {name} must be a list of objects")
    return rows


def _by_id(path: Path, raw: Mapping[str, Any], name: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in _rows(path, raw, name):
        key = row.get("id")
        if not isinstance(key, int) or isinstance(key, bool):
            raise DatasetError(f"{path}: {name} must each have a whole number as id, got {key!r}")
        if key in found:
            raise DatasetError(f"{path}: {name} must have each id once, {key} is there twice")
        found[key] = row
    return found


def _dataset(
    file: CocoFile,
    root: Path,
    collector: Collector,
    *,
    task: Task,
    target: Callable[[list[dict[str, Any]], tuple[int, int]], Any],
) -> Dataset:
    samples = []
    for key in sorted(file.images):
        if size_hw := collector.size(file.images[key]):
            samples.append(Sample(file.images[key], target(file.annotations.get(key, []), size_hw), size_hw, key))
    return Dataset(
        format="coco" if task == "detection" else "coco-masks",
        root=root,
        task=task,
        labels=file.labels if task == "detection" else ("background", *file.labels),
        samples=tuple(samples),
        problems=collector.problems,
        category_ids=tuple(sorted(file.categories)),
    )


def _class_id(row: Mapping[str, Any], file: CocoFile, collector: Collector) -> int | None:
    category = row.get("category_id")
    class_id = file.categories.get(category) if isinstance(category, int) else None
    if class_id is None:
        collector.add(file.path, "box", f"annotation {row.get('id')} must be of a listed category, got {category!r}")
    return class_id


def _outline(row: Mapping[str, Any], file: CocoFile, size_hw: tuple[int, int], collector: Collector) -> Outline | None:
    try:
        return read_outline(row.get("segmentation"), size_hw)
    except ValueError as error:
        collector.add(file.path, "box", f"annotation {row.get('id')}: {error}")
        return None


def _box(row: Mapping[str, Any], file: CocoFile, size_hw: tuple[int, int], collector: Collector) -> RawBox | None:
    class_id = _class_id(row, file, collector)
    if class_id is None:
        return None
    outline = None
    if row.get("segmentation"):
        outline = _outline(row, file, size_hw, collector)
        if outline is None:
            return None
    try:
        corners = _corners(row["bbox"]) if row.get("bbox") else outline_bounds(outline)
    except ValueError as error:
        collector.add(file.path, "box", f"annotation {row.get('id')}: {error}")
        return None
    area = row.get("area")
    stated = isinstance(area, int | float) and math.isfinite(area) and area > 0
    return RawBox(
        corners,
        class_id,
        crowd=bool(row.get("iscrowd")),
        area=float(area) if stated and area is not None else (outline_area(outline) if outline is not None else None),
    )


def _corners(bbox: Any) -> tuple[float, float, float, float]:
    """``[x, y, width, height]`` as corners; raises ValueError."""
    numbers = isinstance(bbox, list) and len(bbox) == 4 and all(type(value) in (int, float) for value in bbox)
    if not numbers:
        raise ValueError(f"bbox must be [x, y, width, height], got {bbox!r:.60}")
    x, y, width, height = np.array(bbox, np.float64).tolist()
    return x, y, x + width, y + height
