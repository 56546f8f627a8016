"""Whether decoded results hold enough to prove anything: a model that finds nothing agrees with every export of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pipelines.types import Classification, Detections, Embedding, Result, SegmentationMap

MIN_DETECTIONS = 20
MIN_CLASSES = 2
MIN_CLASS_SHARE = 0.05
MIN_OF_EVEN_SHARE = 0.75  # 21 classes have 4.76 % each when all are even: 5 % is asked of up to 15.


@dataclass(frozen=True)
class Coverage:
    """What the decoded results of random weights hold.

    Attributes:
        results: images that were decoded.
        detections: boxes over all images.
        classes: different classes: of detections, of the best class of an image, of pixels.
        least_class_share: part of all pixels that the rarest mask class covers; 1 where there are no masks.
    """

    results: int
    detections: int
    classes: int
    least_class_share: float

    def to_json(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "results": self.results,
            "detections": self.detections,
            "classes": self.classes,
            "least_class_share": round(self.least_class_share, 4),
        }

    def lack(self, task: str, *, num_classes: int) -> str | None:
        """What random weights lack to prove anything, or ``None``."""
        if task == "detection" and self.detections < MIN_DETECTIONS:
            return f"at least {MIN_DETECTIONS} detections must appear, there are {self.detections}"
        if task != "embedding" and num_classes > 1 and self.classes < MIN_CLASSES:
            return f"at least {MIN_CLASSES} classes must appear, there are {self.classes}"
        share = least_share(num_classes)
        if task == "segmentation" and self.least_class_share < share:
            return (
                f"each mask class must cover {share:.2%} of the pixels, the rarest covers {self.least_class_share:.2%}"
            )
        return None


def least_share(num_classes: int) -> float:
    """Part of the pixels that each mask class must cover: 5 %, or three quarters of an even share if that is less."""
    return min(MIN_CLASS_SHARE, MIN_OF_EVEN_SHARE / max(num_classes, 2))


def coverage_of(results: Iterable[Result], *, num_classes: int) -> Coverage:
    """Count what is in ``results``; classes that a mask could hold and does not have a share of 0."""
    results = list(results)
    detections, seen = 0, set()
    pixels = np.zeros(max(num_classes, 2), np.int64)
    for result in results:
        if isinstance(result, Detections):
            detections += len(result)
            seen.update(result.class_ids.tolist())
        elif isinstance(result, Classification) and len(result):
            seen.add(int(result.class_ids[0]))
        elif isinstance(result, SegmentationMap):
            pixels += np.bincount(result.class_map.ravel(), minlength=len(pixels))[: len(pixels)]
        elif isinstance(result, Embedding):
            seen.add(0)
    masks = pixels.any()
    return Coverage(
        results=len(results),
        detections=detections,
        classes=int(np.count_nonzero(pixels)) if masks else len(seen),
        least_class_share=float(pixels.min() / pixels.sum()) if masks else 1.0,
    )
