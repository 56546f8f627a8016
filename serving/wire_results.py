"""Results to wire messages: the part of ``wire.py`` that knows what a result holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.polygons import to_polygons
from pipelines.present import encode_mask_png, encode_png
from pipelines.rle import encode, encode_classes
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
    pixel_windows,
)
from protos.ocella.v1 import vision_pb2 as pb

MASK_FORMATS = (pb.MASK_FORMAT_PNG, pb.MASK_FORMAT_RLE, pb.MASK_FORMAT_POLYGON)


def write_result(response: pb.PredictResponse, result: Result, mask_format: int, *, embeddings: bool = False) -> None:
    """Put a result into the field of its type, its masks in ``mask_format``, the faces' ``embeddings`` if asked for."""
    if isinstance(result, Classification):
        response.classification.CopyFrom(_write_classes(result))
    elif isinstance(result, Detections):
        response.detections.CopyFrom(_write_detections(result, mask_format))
    elif isinstance(result, SegmentationMap):
        response.segmentation.CopyFrom(_write_segmentation(result, mask_format))
    elif isinstance(result, CascadeResult) and result.qualities is not None:
        response.faces.CopyFrom(_write_faces(result, result.qualities, mask_format, embeddings=embeddings))
    elif isinstance(result, CascadeResult):
        response.cascade.CopyFrom(_write_cascade(result, mask_format))
    else:
        response.embedding.CopyFrom(_write_embedding(result))


def _write_faces(
    result: CascadeResult, qualities: Sequence[FaceQuality], mask_format: int, *, embeddings: bool
) -> pb.FaceList:
    wanted = [each for each in result.objects if embeddings and isinstance(each, Embedding)]
    return pb.FaceList(
        detections=_write_detections(result.detections, mask_format),
        qualities=map(write_quality, qualities),
        embeddings=map(_write_embedding, wanted),
        transforms=result.transforms.ravel().tolist(),
    )


def write_quality(quality: FaceQuality) -> pb.FaceQuality:
    """What a face's picture is like, as a message."""
    return pb.FaceQuality(
        size_px=quality.size_px, sharpness=quality.sharpness, brightness=quality.brightness, turn=quality.turn
    )


def _write_cascade(result: CascadeResult, mask_format: int) -> pb.Cascade:
    return pb.Cascade(
        detections=_write_detections(result.detections, mask_format),
        objects=[
            _write_object(each, transform, mask_format)
            for each, transform in zip(result.objects, result.transforms, strict=True)
        ],
    )


def _write_object(result: ObjectResult, transform: FloatArray, mask_format: int) -> pb.CascadeObject:
    message = pb.CascadeObject(transform=transform.ravel().tolist())
    if isinstance(result, Classification):
        message.classification.CopyFrom(_write_classes(result))
    elif isinstance(result, SegmentationMap):
        message.segmentation.CopyFrom(_write_segmentation(result, mask_format))
        height, width = result.class_map.shape
        message.segmentation.size.CopyFrom(pb.ImageSize(width=width, height=height))
    else:
        message.embedding.CopyFrom(_write_embedding(result))
    return message


def _write_classes(result: Classification) -> pb.Classification:
    return pb.Classification(class_ids=result.class_ids.tolist(), scores=result.scores.tolist(), labels=result.labels)


def _write_detections(result: Detections, mask_format: int) -> pb.Detections:
    message = pb.Detections(
        boxes=result.boxes.ravel().tolist(),
        scores=result.scores.tolist(),
        class_ids=result.class_ids.tolist(),
        labels=result.labels,
    )
    if result.keypoints is not None:
        message.keypoints.per_object = result.keypoints.shape[1]
        message.keypoints.values.extend(result.keypoints.ravel().tolist())
        message.keypoints.skeleton.extend(index for pair in result.skeleton for index in pair)
    if result.polygons is not None:
        message.polygons.SetInParent()
        for polygon in result.polygons:
            message.polygons.sizes.append(len(polygon))
            message.polygons.values.extend(polygon.ravel().tolist())
    if result.masks is not None:
        message.masks.CopyFrom(_write_masks(result.masks, result.boxes, mask_format))
    if result.angles is not None:
        message.angles.CopyFrom(pb.Angles(radians=result.angles.tolist()))
    return message


def _write_masks(masks: tuple[BoolArray, ...], boxes: FloatArray, mask_format: int) -> pb.ObjectMasks:
    corners = pixel_windows(boxes)[:, :2].tolist()
    message = pb.ObjectMasks()
    for mask, (left, top) in zip(masks, corners, strict=True):
        each = message.objects.add(left=left, top=top, width=mask.shape[1], height=mask.shape[0])
        if mask_format == pb.MASK_FORMAT_PNG:
            each.png = encode_mask_png(mask)
        elif mask_format == pb.MASK_FORMAT_POLYGON:
            each.regions.extend(_write_regions(mask, (left, top)))
        else:
            each.counts.extend(encode(mask).tolist())
    return message


def _write_segmentation(result: SegmentationMap, mask_format: int) -> pb.Segmentation:
    if mask_format in (pb.MASK_FORMAT_RLE, pb.MASK_FORMAT_POLYGON):
        return pb.Segmentation(labels=result.labels, class_masks=_class_masks(result.class_map, mask_format))
    return pb.Segmentation(
        labels=result.labels,
        class_map_png=encode_png(result.class_map),
        alpha_png=None if result.alpha is None else encode_png(result.alpha),
    )


def _class_masks(class_map: AnyArray, mask_format: int) -> list[pb.ClassMask]:
    if mask_format == pb.MASK_FORMAT_RLE:
        runs = encode_classes(class_map)
        return [pb.ClassMask(class_id=class_id, counts=counts.tolist()) for class_id, counts in runs.items()]
    present = [class_id for class_id in np.unique(class_map).tolist() if class_id]
    return [
        pb.ClassMask(class_id=class_id, regions=_write_regions(class_map == class_id, (0, 0))) for class_id in present
    ]


def _write_regions(mask: BoolArray, corner: Sequence[int]) -> list[pb.Region]:
    """Exact outlines of a window that lies with its top left pixel at ``corner``."""
    return [
        pb.Region(
            outer=(polygon.outer + corner).ravel().tolist(),
            holes=[pb.Ring(points=(hole + corner).ravel().tolist()) for hole in polygon.holes],
        )
        for polygon in to_polygons(mask, tolerance_px=0)
    ]


def _write_embedding(result: Embedding) -> pb.Embedding:
    return pb.Embedding(vector=result.vector.tolist())
