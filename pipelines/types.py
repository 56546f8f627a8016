"""Results of the vision tasks: frozen structs of arrays, checked once at construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
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
        scores: ``(K,)`` float32, descending; probabilities, or their natural logarithms where the head's activation is
            ``log_softmax``, or what the graph answers where it is ``none``.
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
        masks: ``N`` arrays ``(h, w)`` bool, each over the whole pixels that its box touches (:func:`pixel_windows`), so
            that a small object of a large image costs little; or ``None``. :meth:`mask` lays one into the image.
        angles: ``(N,)`` float32 radians of boxes that turn, or ``None``: the direction of the edge from the first
            corner to the second, which an unturned box has along x, measured from x towards y (clockwise as seen).
            ``polygons`` are then the four corners, and ``boxes`` their bounds.
        skeleton: pairs of indices into the ``K`` keypoints that a drawing joins; the same for every image of a model.
    """

    boxes: FloatArray
    scores: FloatArray
    class_ids: NDArray[np.int64]
    labels: tuple[str, ...] = ()
    keypoints: FloatArray | None = None
    polygons: tuple[FloatArray, ...] | None = None
    masks: tuple[BoolArray, ...] | None = None
    angles: FloatArray | None = None
    skeleton: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.boxes)
        _check("boxes", self.boxes, np.float32, (None, 4))
        _check("scores", self.scores, np.float32, (count,))
        _check("class_ids", self.class_ids, np.int64, (count,))
        _check_labels(self.labels, count)
        if self.keypoints is not None:
            _check("keypoints", self.keypoints, np.float32, (count, None, 3))
        points = 0 if self.keypoints is None else self.keypoints.shape[1]
        if not all(0 <= index < points for pair in self.skeleton for index in pair):
            raise ValueError(f"skeleton must join some of {points} keypoints, got {self.skeleton}")
        if self.polygons is not None:
            if len(self.polygons) != count:
                raise ValueError(f"polygons must be {count}, one a box, got {len(self.polygons)}")
            for polygon in self.polygons:
                _check("polygons", polygon, np.float32, (None, 2))
        if self.masks is not None:
            if len(self.masks) != count:
                raise ValueError(f"masks must be {count}, one a box, got {len(self.masks)}")
            for mask, (left, top, right, bottom) in zip(self.masks, pixel_windows(self.boxes).tolist(), strict=True):
                _check("masks", mask, np.bool_, (bottom - top, right - left))
        if self.angles is not None:
            _check("angles", self.angles, np.float32, (count,))
            if self.polygons is None:
                raise ValueError("angles must come with polygons, the corners of the turned boxes, got none")
            for polygon in self.polygons:
                _check("polygons of turned boxes", polygon, np.float32, (4, 2))

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
            masks=None if self.masks is None else tuple(self.masks[i] for i in picked),
            angles=None if self.angles is None else self.angles[picked],
        )

    def mask(self, index: int, image_hw: tuple[int, int]) -> BoolArray:
        """Lay one object's mask into its image: ``(H, W)`` bool.

        Raises:
            ValueError: there are no masks, or the box reaches out of an image of ``image_hw``.
        """
        if self.masks is None:
            raise ValueError("detections must have masks to lay one into the image, they have none")
        left, top, right, bottom = pixel_windows(self.boxes[[index]])[0].tolist()
        if min(left, top) < 0 or bottom > image_hw[0] or right > image_hw[1]:
            raise ValueError(f"box must lie inside an image of {image_hw}, got {self.boxes[index].tolist()}")
        laid = np.zeros(image_hw, np.bool_)
        laid[top:bottom, left:right] = self.masks[index]
        return laid


def pixel_windows(boxes: FloatArray) -> NDArray[np.int64]:
    """Whole pixels that ``(N, 4)`` boxes touch: ``(N, 4)`` left, top, right, bottom, the last two exclusive.

    Left and top are rounded down, right and bottom up, so boxes clipped to an image have windows inside it. A box
    turned inside out has an empty window.
    """
    low = np.floor(boxes[:, :2]).astype(np.int64)
    high = np.ceil(boxes[:, 2:]).astype(np.int64)
    return np.concatenate((low, np.maximum(low, high)), axis=1)


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


ObjectResult: TypeAlias = Classification | SegmentationMap | Embedding
ModelResult: TypeAlias = Classification | Detections | SegmentationMap | Embedding


@dataclass(frozen=True)
class FaceQuality:
    """What the picture of a face is like (``pipelines.quality`` measures it).

    Attributes:
        size_px: shorter side of the box in pixels of the image.
        sharpness: variance of the Laplacian of the grey crop at 112 x 112 px, levels squared.
        brightness: mean level of that crop, 0 to 255.
        turn: distance of the nose from the middle between the eyes, in distances between the eyes; ``None`` where no
            landmark is a nose.
    """

    size_px: float
    sharpness: float
    brightness: float
    turn: float | None = None


@dataclass(frozen=True, eq=False)
class CascadeResult:
    """What a first model found in an image, and what a second one says of each object: entry i belongs to object i.

    Attributes:
        detections: the objects that went on to the second model, best first.
        objects: ``N`` results of one type, each in the pixels of the object's crop.
        transforms: ``(N, 2, 3)`` float32: ``transforms[i] @ (x, y, 1)`` moves a point of the image into crop ``i``.
        qualities: ``N`` where the objects are aligned faces that were embedded, else ``None``.
    """

    detections: Detections
    objects: tuple[ObjectResult, ...]
    transforms: FloatArray
    qualities: tuple[FaceQuality, ...] | None = None

    def __post_init__(self) -> None:
        count = len(self.detections)
        _check("transforms", self.transforms, np.float32, (count, 2, 3))
        if len(self.objects) != count:
            raise ValueError(f"objects must be {count}, one a detection, got {len(self.objects)}")
        if self.qualities is not None and len(self.qualities) != count:
            raise ValueError(f"qualities must be {count}, one a face, got {len(self.qualities)}")
        kinds = {type(each) for each in self.objects}
        if len(kinds) > 1 or not kinds <= {Classification, SegmentationMap, Embedding}:
            names = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"objects must be of one type, not Detections, got {names}")

    def __len__(self) -> int:
        return len(self.detections)


Result: TypeAlias = ModelResult | CascadeResult


def _check_labels(labels: tuple[str, ...], count: int) -> None:
    if labels and len(labels) != count:
        raise ValueError(f"labels must be empty or {count}, got {len(labels)}")


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Result) and isinstance(b, Result):
        return identical(a, b)
    return bool(a == b)


def identical(a: Result, b: Result) -> bool:
    """Whether two results are of one type and equal to the bit in every field, nested results too."""
    return type(a) is type(b) and all(_same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
