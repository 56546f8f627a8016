"""YOLOv8, v9 and v11 heads: a distribution for each side of a box, masks, keypoints, boxes that turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.activations import sigmoid, softmax
from pipelines.decoders.candidates import Candidates, join, require_grid
from pipelines.decoders.dense import Doubles, cell_xy, corners, grids, pick_columns
from pipelines.errors import ModelOutputError
from pipelines.outputs import read_output, require_finite, require_probabilities
from pipelines.specs import DflAngle, DflColumns, DflDecoded, DflKeypoints, DflMaps, DflMasks, YoloDfl
from pipelines.types import AnyArray, FloatArray

Indices = NDArray[np.intp]


def decode(
    outputs: Mapping[str, AnyArray], spec: YoloDfl, *, row_hw: tuple[int, int], score_threshold: float
) -> Candidates:
    """Turn distribution heads (Generalized Focal Loss, arXiv:2006.04388, equation 5) into candidates.

    With cell ``(x, y)`` and the logits ``z[side, i]`` of ``reg_max`` bins a side, in the order left, top, right,
    bottom, and the sides measured from the cell's centre as in FCOS (arXiv:1904.01355, equation 1)::

        distance = sum over i of i * softmax(z[side])[i]
        corners  = ((x, y) + 0.5 - (left, top)) * stride, ((x, y) + 0.5 + (right, bottom)) * stride
        score    = P(class)                       P: sigmoid, unless the graph has applied it

    What follows the classes of a raw column::

        keypoint = ((x, y) + 2 t) * stride, score sigmoid(t)
        angle    = (sigmoid(t) - 0.25) * pi; the middle of the box turns about the cell's centre by it
        masks    = coefficients as they are (YOLACT, arXiv:1904.02689)

    The angle is that of rknn_model_zoo's yolov8_obb example (Apache-2.0). For the raw keypoint no published source was
    found: that project's pose example reads points that the graph has decoded. Where the graph can decode them, as
    exporters do by default, the decoded layout is the safer choice.

    Decoded columns hold all of these in row pixels and radians. A box that turns is answered as its four corners,
    clockwise from what is its top left at angle 0, with their bounds as its box. Nothing is clipped.

    Columns whose best class is below the threshold are dropped before any box is computed.

    Args:
        outputs: name to array of one row, as :class:`YoloDfl` describes.
        spec: the decoder's constants.
        row_hw: the row's size.
        score_threshold: 0 to 1.

    Raises:
        ModelOutputError: an output is missing, has the wrong shape or values out of range, or a box or a point is not
            finite.
    """
    found = join([_decode_level(level, spec, score_threshold) for level in _levels(outputs, spec.layout, row_hw)])
    if not isinstance(spec.extra, DflMasks):
        return found
    prototypes = read_output(outputs, spec.extra.prototypes, (spec.extra.num, None, None))
    return replace(found, prototypes=prototypes, mask_threshold=spec.extra.threshold)


@dataclass(frozen=True, eq=False)
class _Level:
    """Columns ``(channels, n)`` of an output, or of one stride of it: row-major cells, ``width`` a row.

    ``stride`` and ``width`` are those of no grid, 1 and 1, where the graph has decoded the columns.
    """

    name: str
    columns: FloatArray
    stride: int = 1
    width: int = 1

    def cells(self, at: Indices) -> Doubles:
        """Cells ``(P, 2)`` x, y of columns ``at``."""
        return cell_xy(at, self.width)


def _levels(
    outputs: Mapping[str, AnyArray], layout: DflMaps | DflColumns | DflDecoded, row_hw: tuple[int, int]
) -> Iterator[_Level]:
    if isinstance(layout, DflDecoded):
        yield _Level(layout.output, read_output(outputs, layout.output, (None, None)))
    elif isinstance(layout, DflColumns):
        cells = grids(row_hw, layout.strides)
        ends = np.cumsum([height * width for height, width in cells])
        columns = read_output(outputs, layout.output, (None, int(ends[-1])))
        for part, stride, (_, width) in zip(np.split(columns, ends[:-1], axis=1), layout.strides, cells, strict=True):
            yield _Level(layout.output, part, stride, width)
    else:
        for name, stride in zip(layout.outputs, layout.strides, strict=True):
            maps = read_output(outputs, name, (None, None, None))
            require_grid(name, (maps.shape[1], maps.shape[2]), row_hw, stride)
            yield _Level(name, maps.reshape(len(maps), -1), stride, maps.shape[2])


def _decode_level(level: _Level, spec: YoloDfl, score_threshold: float) -> Candidates:
    layout, extra = spec.layout, spec.extra
    box_channels = 4 if isinstance(layout, DflDecoded) else 4 * layout.reg_max
    num_classes = len(level.columns) - box_channels - _extra_channels(extra)
    if num_classes < 1:
        raise ModelOutputError(
            f"output {level.name!r} must have {box_channels} + classes + {_extra_channels(extra)} channels, "
            f"got {len(level.columns)}"
        )
    picked = pick_columns(
        level.name,
        level.columns[box_channels:][:num_classes],
        activation="none" if isinstance(layout, DflDecoded) else layout.activation,
        score_threshold=score_threshold,
        multi_label=spec.multi_label,
    )
    at = picked.places[0]
    values = level.columns[:box_channels, at]  # (box_channels, P)
    extras = level.columns[box_channels + num_classes :, at].T  # (P, E)

    raw = not isinstance(layout, DflDecoded)
    angles = _angles(extras, raw=raw) if isinstance(extra, DflAngle) else None
    if isinstance(layout, DflDecoded):
        centers, sides = _given_boxes(values.T.astype(np.float64), layout.box_format)
    else:
        distances = _expected_distances(values, layout.reg_max)
        centers, sides = _measured_boxes(distances, level.cells(at), level.stride, angles)
    boxes, polygons = corners(level.name, centers, sides), None
    if angles is not None:
        outlines = _turned(level.name, centers, sides, angles)
        boxes = np.concatenate((outlines.min(axis=1), outlines.max(axis=1)), axis=1)
        polygons = tuple(outlines[picked.of])
    keypoints = _keypoints(extras, extra, level, at, raw=raw) if isinstance(extra, DflKeypoints) else None
    return Candidates(
        boxes=boxes[picked.of],
        scores=picked.scores,
        class_ids=picked.class_ids,
        num_classes=num_classes,
        keypoints=None if keypoints is None else keypoints[picked.of],
        polygons=polygons,
        angles=None if angles is None else angles.astype(np.float32)[picked.of],
        mask_coefficients=extras[picked.of] if isinstance(extra, DflMasks) else None,
    )


def _extra_channels(extra: DflMasks | DflKeypoints | DflAngle | None) -> int:
    if isinstance(extra, DflMasks):
        return extra.num
    if isinstance(extra, DflKeypoints):
        return extra.num * (3 if extra.scored else 2)
    return 0 if extra is None else 1


def _given_boxes(values: Doubles, box_format: str) -> tuple[Doubles, Doubles]:
    """Centres and sides ``(P, 2)`` of decoded boxes ``(P, 4)``."""
    if box_format == "cxcywh":
        return values[:, :2], values[:, 2:]
    return (values[:, :2] + values[:, 2:]) / 2, values[:, 2:] - values[:, :2]


def _expected_distances(bins: FloatArray, reg_max: int) -> Doubles:
    """Left, top, right, bottom ``(P, 4)`` in cells from logits ``(4*reg_max, P)``."""
    chances = softmax(bins.reshape(4, reg_max, -1), axis=1)
    return np.einsum("sip,i->ps", chances, np.arange(reg_max, dtype=np.float64))


def _measured_boxes(distances: Doubles, cells: Doubles, stride: int, angles: Doubles | None) -> tuple[Doubles, Doubles]:
    """Centres and sides ``(P, 2)`` in row pixels from distances ``(P, 4)`` to the centres of ``cells``."""
    left_top, right_bottom = distances[:, :2], distances[:, 2:]
    shifts = (right_bottom - left_top) / 2
    if angles is not None:
        shifts = _turn(shifts[:, None], angles)[:, 0]
    return (cells + 0.5 + shifts) * stride, (left_top + right_bottom) * stride


def _angles(extras: FloatArray, *, raw: bool) -> Doubles:
    """Radians ``(P,)`` from the extra channel ``(P, 1)``."""
    return (sigmoid(extras[:, 0]).astype(np.float64) - 0.25) * np.pi if raw else extras[:, 0].astype(np.float64)


def _turn(points: Doubles, angles: Doubles) -> Doubles:
    """Turn ``(P, K, 2)`` points about the origin by ``(P,)`` radians, from x towards y."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack((x * cos - y * sin, x * sin + y * cos), axis=-1)


def _turned(name: str, centers: Doubles, sides: Doubles, angles: Doubles) -> FloatArray:
    """Corners ``(P, 4, 2)`` of boxes turned about their centres; clockwise from the top left of the unturned box."""
    signs = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1)), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused below.
        outlines = (centers[:, None] + _turn(sides[:, None] / 2 * signs, angles)).astype(np.float32)
    require_finite(f"boxes from output {name!r}", outlines)
    return outlines


def _keypoints(extras: FloatArray, extra: DflKeypoints, level: _Level, at: Indices, *, raw: bool) -> FloatArray:
    """Points ``(P, K, 3)`` x, y, score from the extra channels ``(P, E)``; score 1 where the head gives none."""
    values = extras.reshape(len(extras), extra.num, 3 if extra.scored else 2)
    points = values[..., :2].astype(np.float64)
    keypoints = np.ones((len(extras), extra.num, 3), np.float32)
    with np.errstate(over="ignore"):  # infinity is refused below.
        keypoints[..., :2] = (level.cells(at)[:, None] + 2 * points) * level.stride if raw else points
    require_finite(f"keypoints from output {level.name!r}", keypoints)
    if extra.scored:
        keypoints[..., 2] = sigmoid(values[..., 2]) if raw else values[..., 2]
        if len(keypoints):
            require_probabilities(level.name, keypoints[..., 2])
    return keypoints
