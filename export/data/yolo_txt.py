"""YOLO text files: one an image, one object a line, in parts of the image's sides."""

from __future__ import annotations

from pathlib import Path

from export.data.collect import Collector, RawBox, ReadOptions, image_files, read_labels, read_text, require_folder
from export.data.dataset import Dataset, DatasetError, Sample

NAMES_FILES = ("classes.txt", "labels.txt", "obj.names")


def read_yolo(root: Path, options: ReadOptions) -> Dataset:
    """Read ``ROOT/images/**`` with ``ROOT/labels/**``, or images with their text files beside them.

    ROOT may be one split, ``DIR/images/train`` with ``DIR/labels/train`` and the names in DIR.

    A line is ``class cx cy w h``, or an outline ``class x1 y1 x2 y2 x3 y3 ...`` whose bounds are the box; all but the
    class are parts of width and height. An image without a text file holds no object. Class names are the labels that
    were given, or one a line in ``classes.txt``, ``labels.txt`` or ``obj.names`` of ROOT, or else the numbers.
    """
    collector = Collector(options.on_error)
    top, images, texts = yolo_folders(require_folder(root)) or (root, root, root)
    images = options.images or images
    labels = options.labels or _named(top)
    samples: dict[Path, Sample] = {}
    highest = -1
    for image in image_files(require_folder(images)):
        text = (texts / image.relative_to(images)).with_suffix(".txt")
        if text in samples:
            collector.add(
                image, "image", f"each text file must have one image, {text} has {samples[text].path.name} too"
            )
            continue
        size_hw = collector.size(image)
        raw = None if size_hw is None else _objects(text, size_hw, labels, collector)
        if size_hw is not None and raw is not None:
            highest = max([highest, *(box.class_id for box in raw)])
            samples[text] = Sample(image, collector.boxes(raw, size_hw, text), size_hw)
    return Dataset(
        format="yolo",
        root=root,
        task="detection",
        labels=labels or tuple(map(str, range(highest + 1))),
        samples=tuple(samples.values()),
        problems=collector.problems,
    )


def yolo_folders(root: Path) -> tuple[Path, Path, Path] | None:
    """The folders of class names, images and text files where the latter two differ, else ``None``."""
    if (root / "labels").is_dir():
        return root, root / "images", root / "labels"
    for place in (root.absolute(), *root.absolute().parents):
        texts = place.parent / "labels" / root.absolute().relative_to(place)
        if place.name == "images" and texts.is_dir():
            return place.parent, root, texts
    return None


def _named(root: Path) -> tuple[str, ...] | None:
    found = [root / name for name in NAMES_FILES if (root / name).is_file()]
    return read_labels(found[0]) if found else None


def _objects(
    path: Path, size_hw: tuple[int, int], labels: tuple[str, ...] | None, collector: Collector
) -> list[RawBox] | None:
    """The objects of a text file; ``None`` where it cannot be read as text at all."""
    if not path.exists():
        return []
    try:
        lines = read_text(path).splitlines()
    except DatasetError as error:
        collector.add(path, "image", str(error))
        return None
    boxes = []
    for number, line in enumerate(lines, start=1):
        if words := line.split():
            try:
                boxes.append(_object(words, size_hw, labels))
            except ValueError as error:
                collector.add(path, "box", f"line {number}: {error}")
    return boxes


def _object(words: list[str], size_hw: tuple[int, int], labels: tuple[str, ...] | None) -> RawBox:
    """One line; raises ValueError."""
    if len(words) != 5 and (len(words) < 7 or len(words) % 2 == 0):
        raise ValueError(f"must be a class with 4 numbers, or with 3 or more points x y, got {len(words)} words")
    if not (words[0].isascii() and words[0].isdigit()):
        raise ValueError(f"the class must be a whole number from 0 on, got {words[0]!r}")
    class_id = int(words[0])
    limit = 10_000 if labels is None else len(labels)
    if class_id >= limit:
        raise ValueError(f"the class must be below {limit:,}, the number of names, got {class_id}")
    height, width = size_hw
    numbers = [float(word) for word in words[1:]]
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        corners = (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
        return RawBox(corners, class_id)
    xs, ys = [x * width for x in numbers[::2]], [y * height for y in numbers[1::2]]
    return RawBox((min(xs), min(ys), max(xs), max(ys)), class_id, area=polygon_area(xs, ys))


def polygon_area(xs: list[float], ys: list[float]) -> float:
    """Area inside an outline, by the shoelace formula."""
    after_x, after_y = xs[1:] + xs[:1], ys[1:] + ys[:1]
    return abs(sum(x * v - u * y for x, y, u, v in zip(xs, ys, after_x, after_y, strict=True))) / 2
