"""Results of the vision tasks: frozen structs of arrays, checked once at construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
ByteArray: TypeAlias = NDArray[np.uint8]
AnyArray: TypeAlias = NDArray[Any]


def _check(name: str, array: AnyArray, dtype: type, shape: Sequence[int | None]) -> None:
    """Refuse an array whose dtype or shape (``None`` = any length) is not what the field promises."""
    fits = array.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(array.shape, shape, strict=False)
    )
    if array.dtype != dtype or not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise ValueError(f"{name} must be {np.dtype(dtype)} {wanted}, got {array.dtype} {array.shape}")


@dataclass(frozen=True, eq=False)
class Classification:
    """The ``K`` best classes, best first.

    Attributes:
        class_ids: ``(K,)`` int64.
        scores: ``(K,)`` float32, descending; probabilities unless the head's activation is ``none``.
        labels: ``K`` class names, or empty where the model has none.
    """

    class_ids: NDArray[np.int64]
    scores: FloatArray
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("class_ids", self.class_ids, np.int64, (None,))
        _check("scores", self.scores, np.float32, (len(self.class_ids),))
        _check_labels(self.labels, len(self.class_ids))

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, eq=False)
class Detections:
    """``N`` objects of one image, best first, in pixels of the original image.

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy, clipped to the image.
        scores: ``(N,)`` float32, descending.
        class_ids: ``(N,)`` int64.
        labels: ``N`` class names, or empty where the model has none.
        keypoints: ``(N, K, 3)`` float32 x, y, score; or ``None``. Not clipped. Score 1 where the model gives none.
        polygons: ``N`` arrays ``(P, 2)`` float32 of outline points x, y; or ``None``.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...] = ()
    keypoints: FloatArray | None = None
    polygons: tuple[FloatArray, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.boxes)
        _check("boxes", self.boxes, np.float32, (None, 4))
        _check("scores", self.scores, np.float32, (count,))
        _check("class_ids", self.class_ids, np.int64, (count,))
        _check_labels(self.labels, count)
        if self.keypoints is not None:
            _check("keypoints", self.keypoints, np.float32, (count, None, 3))
        if self.polygons is not None:
            if len(self.polygons) != count:
                raise ValueError(f"polygons must be {count}, one a box, got {len(self.polygons)}")
            for polygon in self.polygons:
                _check("polygons", polygon, np.float32, (None, 2))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer[Any]] | slice) -> Detections:
        """Select detections by mask, indices or slice: ``detections[detections.scores > 0.5]``."""
        picked = np.arange(len(self))[index]
        return replace(
            self,
            boxes=self.boxes[picked],
            scores=self.scores[picked],
            class_ids=self.class_ids[picked],
            labels=tuple(self.labels[i] for i in picked) if self.labels else (),
            keypoints=None if self.keypoints is None else self.keypoints[picked],
            polygons=None if self.polygons is None else tuple(self.polygons[i] for i in picked),
        )


@dataclass(frozen=True, eq=False)
class SegmentationMap:
    """A class for every pixel of the original image.

    Attributes:
        class_map: ``(H, W)`` uint8 (uint16 above 256 classes), indices into ``labels``; 0 is the background.
        alpha: ``(H, W)`` uint8, foreground probability times 255, for a head with one foreground; else ``None``.
        labels: names of all classes of the model, by index.
    """

    class_map: AnyArray
    alpha: ByteArray | None = None
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        dtype = np.uint16 if self.class_map.dtype == np.uint16 else np.uint8
        _check("class_map", self.class_map, dtype, (None, None))
        if self.alpha is not None:
            _check("alpha", self.alpha, np.uint8, self.class_map.shape)


@dataclass(frozen=True, eq=False)
class Embedding:
    """One vector for one image.

    Attributes:
        vector: ``(D,)`` float32; of length 1 where the head normalises.
    """

    vector: FloatArray

    def __post_init__(self) -> None:
        _check("vector", self.vector, np.float32, (None,))


Result: TypeAlias = Classification | Detections | SegmentationMap | Embedding


def _check_labels(labels: tuple[str, ...], count: int) -> None:
    if labels and len(labels) != count:
        raise ValueError(f"labels must be empty or {count}, got {len(labels)}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def identical(a: Result, b: Result) -> bool:
    """Whether two results are of one type and equal to the bit in every field."""
    return type(a) is type(b) and all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
