"""What raw outputs mean to each family of detection heads."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.anchors import BoxDelta, Fcos, RetinaLandmarks, SetPrediction
from pipelines.specs.base import Count, OutputName, Positive, Probability, Spec
from pipelines.specs.yolo import EndToEnd, YoloDfl, YoloV5, Yolox


class CenterHeatmap(Spec):
    """CenterNet-like maps: probabilities ``heatmap (C,h,w)``; ``size``, ``offset (2,h,w)``; ``landmarks (2K,h,w)``.

    Centre = (cell + offset + ``center_shift``) * ``stride``; side = exp(size) * ``stride`` (``size_encoding`` log) or
    size * ``stride`` (linear). Landmark = box corner + value * side. ``axis_order``: which of x, y comes first in
    size, offset and landmarks. ``peak_kernel``: only maxima of a window this wide count; 1 keeps every cell.
    """

    kind: Literal["center_heatmap"]
    heatmap: OutputName
    size: OutputName
    offset: OutputName
    landmarks: OutputName | None
    stride: Count
    center_shift: float
    size_encoding: Literal["log", "linear"]
    axis_order: Literal["xy", "yx"]
    peak_kernel: Literal[1, 3, 5]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        names = (self.heatmap, self.size, self.offset, self.landmarks)
        return tuple(name for name in names if name is not None)


class YoloGrid(Spec):
    """Anchor grids of YOLOv2 and YOLOv3: one output a scale; attributes x, y, w, h, objectness, classes.

    ``channel_order``: ``chw`` = ``(A*(5+C), h, w)`` (Darknet), ``hwc`` = ``(h, w, A*(5+C))`` or ``(h, w, A, 5+C)``.
    ``anchors``: per output, ``A`` pairs of width, height in ``anchor_unit``: ``cell`` (YOLOv2) or ``pixel`` (YOLOv3).
    ``objectness`` none: it is a probability already.
    """

    kind: Literal["yolo_grid"]
    outputs: tuple[OutputName, ...] = Field(min_length=1)
    strides: tuple[Count, ...]
    anchors: tuple[tuple[tuple[Positive, Positive], ...], ...]
    anchor_unit: Literal["cell", "pixel"]
    channel_order: Literal["chw", "hwc"]
    class_activation: Literal["softmax", "sigmoid"]
    objectness: Literal["sigmoid", "none"]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return self.outputs

    @model_validator(mode="after")
    def _one_scale_each(self) -> Self:
        if not len(self.outputs) == len(self.strides) == len(self.anchors):
            raise ValueError(
                "outputs, strides and anchors must be equally many, "
                f"got {len(self.outputs)}, {len(self.strides)}, {len(self.anchors)}"
            )
        if not all(self.anchors):
            raise ValueError("anchors must hold at least one pair for each output")
        return self


class ProbabilityMap(Spec):
    """Text probability map ``(1,h,w)`` at the row's size (DB, arXiv:1911.08947): contours to rotated boxes.

    Pixels above ``binarize_threshold`` (dilated by 2x2 where ``dilate``) form contours; each becomes its smallest
    rotated rectangle, grown by area * ``unclip_ratio`` / perimeter on every side. Rectangles whose shorter side is
    below ``min_side`` row pixels (``min_side`` + 2 once grown) are dropped.
    """

    kind: Literal["probability_map"]
    output: OutputName
    binarize_threshold: Probability
    dilate: bool
    unclip_ratio: Positive
    min_side: Count
    max_candidates: Count

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


Decoder: TypeAlias = Annotated[
    CenterHeatmap
    | YoloGrid
    | ProbabilityMap
    | YoloV5
    | Yolox
    | YoloDfl
    | EndToEnd
    | BoxDelta
    | Fcos
    | SetPrediction
    | RetinaLandmarks,
    Field(discriminator="kind"),
]
