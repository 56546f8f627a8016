"""Images with masks: ``ROOT/images/a.jpg`` and the class of each of its pixels in ``ROOT/masks/a.png``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.data.collect import Collector, ReadOptions, image_files, read_labels, require_folder
from export.data.dataset import IGNORED, Dataset, DatasetError, MaskTarget, Sample

LABELS_FILE = "labels.txt"
FOREGROUND_LABELS = ("background", "foreground")


def read_masks(root: Path, options: ReadOptions) -> Dataset:
    """Read ``ROOT/images/**`` with ``ROOT/masks/**`` of the same name, PNG (grey or palette) or TIFF.

    With labels (given, or one a line in ``ROOT/labels.txt``, the background first) a mask's value is the class id, and
    255 is not counted. Without, 0 is the background and every other value the foreground. Each mask is read: one of
    another size than its image, or with a class that has no label, is left out.
    """
    collector = Collector(options.on_error)
    images, masks = require_folder(options.images or root / "images"), require_folder(root / "masks")
    named = options.labels or (read_labels(root / LABELS_FILE) if (root / LABELS_FILE).is_file() else None)
    values = options.mask_values or ("classes" if named else "foreground")
    if values == "classes" and named is None:
        raise DatasetError(f"masks whose values are classes need their names: one a line in {root / LABELS_FILE}")
    labels = named or FOREGROUND_LABELS
    by_name = _by_name(masks, collector)
    samples: dict[Path, Sample] = {}
    for path in image_files(images):
        key = path.relative_to(images).with_suffix("")
        if key in samples:
            collector.add(path, "image", f"each mask must have one image, {key} has {samples[key].path.name} too")
            continue
        size_hw, mask = collector.size(path), by_name.pop(key, None)
        if mask is None:
            collector.add(path, "image", f"the mask is missing: {masks / key}.png")
        elif size_hw is not None:
            target = MaskTarget(mask, values)
            if _fits(target, size_hw, len(labels), collector):
                samples[key] = Sample(path, target, size_hw)
    for mask in by_name.values():
        collector.add(mask, "image", "the mask has no image")
    return Dataset(
        format="masks",
        root=root,
        task="segmentation",
        labels=labels,
        samples=tuple(samples.values()),
        problems=collector.problems,
    )


def _by_name(masks: Path, collector: Collector) -> dict[Path, Path]:
    found: dict[Path, Path] = {}
    for path in image_files(masks):
        key = path.relative_to(masks).with_suffix("")
        if key in found:
            collector.add(path, "image", f"each image must have one mask, {key} has {found[key].name} too")
        else:
            found[key] = path
    return found


def _fits(target: MaskTarget, size_hw: tuple[int, int], num_classes: int, collector: Collector) -> bool:
    assert isinstance(target.source, Path)
    try:
        class_map = target.class_map()
    except DatasetError as error:
        collector.add(target.source, "image", str(error).removeprefix(f"{target.source}: "))
        return False
    if class_map.shape != size_hw:
        collector.add(target.source, "image", f"the mask must have its image's size {size_hw}, got {class_map.shape}")
        return False
    unknown = [value for value in np.unique(class_map).tolist() if value >= num_classes and value != IGNORED]
    if unknown:
        collector.add(target.source, "image", f"class ids must be below {num_classes}, the labels, got {unknown[:5]}")
    return not unknown
