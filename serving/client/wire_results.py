"""Wire messages to results: the part of the client's ``wire.py`` that knows what a result holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np

from pipelines import rle
from pipelines.errors import ServerFaultError
from pipelines.polygons import Polygon, to_mask
from pipelines.types import (
    AnyArray,
    BoolArray,
    CascadeResult,
    Classification,
    Detections,
    Embedding,
    FaceQuality,
    FloatArray,
    ObjectResult,
    Result,
    SegmentationMap,
)
from protos.ocella.v1 import vision_pb2 as pb


def read_result(response: pb.PredictResponse, image_hw: tuple[int, int]) -> Result:
    """The result that a response holds.

    Raises:
        ServerFaultError: it holds none that this client knows.
        ValueError: it does not fit together.
    """
    kind = response.WhichOneof("outcome")
    if kind == "classification":
        return _read_classes(response.classification)
    if kind == "detections":
        return _read_detections(response.detections)
    if kind == "segmentation":
        return _read_segmentation(response.segmentation, image_hw)
    if kind == "embedding":
        return Embedding(_floats(response.embedding.vector))
    if kind == "faces":
        return _read_faces(response.faces)
    if kind == "cascade":
        return _read_cascade(response.cascade)
    raise ServerFaultError(f"the server answered with {kind or 'nothing'}, which this client does not know")


def _read_faces(message: pb.FaceList) -> CascadeResult:
    return CascadeResult(
        _read_detections(message.detections),
        tuple(Embedding(_floats(each.vector)) for each in message.embeddings),
        _floats(message.transforms).reshape(-1, 2, 3),
        tuple(map(read_quality, message.qualities)),
    )


def read_quality(message: pb.FaceQuality) -> FaceQuality:
    """What a face's picture is like."""
    turn = message.turn if message.HasField("turn") else None
    return FaceQuality(message.size_px, message.sharpness, message.brightness, turn)


def _read_cascade(message: pb.Cascade) -> CascadeResult:
    transforms = [_floats(each.transform).reshape(2, 3) for each in message.objects]
    return CascadeResult(
        _read_detections(message.detections),
        tuple(_read_object(each) for each in message.objects),
        np.reshape(np.array(transforms, np.float32), (-1, 2, 3)),
    )


def _read_object(message: pb.CascadeObject) -> ObjectResult:
    kind = message.WhichOneof("result")
    if kind == "classification":
        return _read_classes(message.classification)
    if kind == "segmentation":
        size = message.segmentation.size
        return _read_segmentation(message.segmentation, (size.height, size.width))
    if kind == "embedding":
        return Embedding(_floats(message.embedding.vector))
    raise ServerFaultError(f"the server answered an object with {kind or 'nothing'}, which this client does not know")


def _read_classes(message: pb.Classification) -> Classification:
    return Classification(_ints(message.class_ids), _floats(message.scores), tuple(message.labels))


def _read_detections(message: pb.Detections) -> Detections:
    count = len(message.scores)
    keypoints = None
    if message.HasField("keypoints"):
        keypoints = _floats(message.keypoints.values).reshape(count, message.keypoints.per_object, 3)
    polygons = None
    if message.HasField("polygons"):
        points = _floats(message.polygons.values).reshape(-1, 2)
        ends = np.cumsum([0, *message.polygons.sizes], dtype=np.int64)
        if len(message.polygons.sizes) != count or ends[-1] != len(points):
            raise ValueError(f"polygons must be {count} of {ends[-1]} points together, got {len(points)} points")
        polygons = tuple(points[start:end] for start, end in pairwise(ends))
    return Detections(
        boxes=_floats(message.boxes).reshape(count, 4),
        scores=_floats(message.scores),
        class_ids=_ints(message.class_ids),
        labels=tuple(message.labels),
        keypoints=keypoints,
        polygons=polygons,
        masks=_read_masks(message.masks) if message.HasField("masks") else None,
        angles=_floats(message.angles.radians) if message.HasField("angles") else None,
        skeleton=_read_skeleton(message.keypoints.skeleton),
    )


def _read_skeleton(indices: Sequence[int]) -> tuple[tuple[int, int], ...]:
    if len(indices) % 2:
        raise ValueError(f"skeleton must hold pairs of indices, got {len(indices)} indices")
    return tuple(zip(indices[::2], indices[1::2], strict=True))


def _read_masks(message: pb.ObjectMasks) -> tuple[BoolArray, ...]:
    return tuple(_read_mask(mask) for mask in message.objects)


def _read_mask(mask: pb.ObjectMask) -> BoolArray:
    """An object's window, in whichever format it came."""
    hw = (mask.height, mask.width)
    if mask.counts:
        return rle.decode(mask.counts, hw)
    if mask.png:
        return _plane(mask.png) > 0
    return to_mask([_read_region(region, (mask.left, mask.top)) for region in mask.regions], hw)


def _read_region(region: pb.Region, corner: tuple[int, int]) -> Polygon:
    """A region in pixels of the window whose top left pixel is ``corner``."""
    shift = np.array(corner, np.float32)
    rings = [_floats(points).reshape(-1, 2) - shift for points in (region.outer, *(h.points for h in region.holes))]
    return Polygon(rings[0], tuple(rings[1:]))


def _read_segmentation(message: pb.Segmentation, image_hw: tuple[int, int]) -> SegmentationMap:
    labels = tuple(message.labels)
    if not message.class_map_png:
        return SegmentationMap(_fill(message.class_masks, image_hw, len(labels)), None, labels)
    alpha = _plane(message.alpha_png).astype(np.uint8, copy=False) if message.HasField("alpha_png") else None
    return SegmentationMap(_plane(message.class_map_png), alpha, labels)


def _fill(masks: Iterable[pb.ClassMask], image_hw: tuple[int, int], classes: int) -> AnyArray:
    """Masks of classes back to a class map."""
    largest = max([classes - 1, *(mask.class_id for mask in masks)])
    class_map = np.zeros(image_hw, np.uint8 if largest < 256 else np.uint16)
    for mask in masks:
        regions = [_read_region(region, (0, 0)) for region in mask.regions]
        class_map[to_mask(regions, image_hw) if regions else rle.decode(mask.counts, image_hw)] = mask.class_id
    return class_map


def _plane(png: bytes) -> AnyArray:
    plane = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if plane is None:
        raise ValueError("a mask is not a PNG")
    return plane


def _floats(values: object) -> FloatArray:
    return np.array(values, np.float32)


def _ints(values: object) -> AnyArray:
    return np.array(values, np.int64)
