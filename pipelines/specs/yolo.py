"""What raw outputs mean to the YOLO families that came after Darknet's."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.base import Count, OutputName, Positive, Probability, Spec

Activation: TypeAlias = Literal["sigmoid", "none"]


class YoloV5Maps(Spec):
    """Raw anchor grids, one output a scale; attributes x, y, w, h, objectness, classes, all logits.

    Attributes:
        form: ``maps``.
        outputs: one name a scale.
        strides: row pixels a cell, one a scale.
        anchors: ``A`` pairs of width, height in row pixels, for each scale.
        channel_order: ``chw`` = ``(A*(5+C), h, w)``; ``ahwc`` = ``(A, h, w, 5+C)``.
    """

    form: Literal["maps"]
    outputs: tuple[OutputName, ...] = Field(min_length=1)
    strides: tuple[Count, ...]
    anchors: tuple[tuple[tuple[Positive, Positive], ...], ...]
    channel_order: Literal["chw", "ahwc"]

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


class YoloV5Decoded(Spec):
    """Rows ``(N, 5+C)`` decoded in the graph: centre x, centre y, width, height in row pixels, then probabilities.

    Attributes:
        form: ``decoded``.
        output: name of the output; its columns from 4 on are objectness and classes.
    """

    form: Literal["decoded"]
    output: OutputName

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


class YoloV5(Spec):
    """YOLOv5 and YOLOv7: anchors, a centre that may leave its cell by half, sides of at most four anchors.

    Attributes:
        kind: ``yolo_v5``.
        layout: raw maps, or rows that the graph has decoded.
        multi_label: every class at or above the threshold is a candidate (the evaluation setting), not the best alone.
    """

    kind: Literal["yolo_v5"]
    layout: Annotated[YoloV5Maps | YoloV5Decoded, Field(discriminator="form")]
    multi_label: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return self.layout.output_names


class Yolox(Spec):
    """YOLOX: rows ``(N, 5+C)``, the cells of all strides one after the other; raw x, y, w, h, objectness, classes.

    Attributes:
        kind: ``yolox``.
        output: name of the output.
        strides: row pixels a cell, in the order in which the rows are concatenated.
        activation: of objectness and classes; ``none``: they are probabilities already, as its exporter leaves them.
        multi_label: every class at or above the threshold is a candidate (the evaluation setting), not the best alone.
    """

    kind: Literal["yolox"]
    output: OutputName
    strides: tuple[Count, ...] = Field(min_length=1)
    activation: Activation
    multi_label: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


class DflMaps(Spec):
    """Raw maps ``(4*reg_max + C + E, h, w)``, one output a scale: bins of left, top, right, bottom; classes; extras.

    Attributes:
        form: ``maps``.
        outputs: one name a scale.
        strides: row pixels a cell, one a scale.
        reg_max: bins a side; bin ``i`` stands for a distance of ``i`` cells.
        activation: of the classes; ``none``: they are probabilities already.
    """

    form: Literal["maps"]
    outputs: tuple[OutputName, ...] = Field(min_length=1)
    strides: tuple[Count, ...]
    reg_max: Count
    activation: Activation

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return self.outputs

    @model_validator(mode="after")
    def _one_scale_each(self) -> Self:
        if len(self.outputs) != len(self.strides):
            raise ValueError(f"outputs and strides must be equally many, got {len(self.outputs)}, {len(self.strides)}")
        return self


class DflColumns(Spec):
    """Raw columns ``(4*reg_max + C + E, N)``: the maps of :class:`DflMaps`, flattened and concatenated.

    Attributes:
        form: ``columns``.
        output: name of the output.
        strides: row pixels a cell, in the order in which the maps are concatenated.
        reg_max: bins a side; bin ``i`` stands for a distance of ``i`` cells.
        activation: of the classes; ``none``: they are probabilities already.
    """

    form: Literal["columns"]
    output: OutputName
    strides: tuple[Count, ...] = Field(min_length=1)
    reg_max: Count
    activation: Activation

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


class DflDecoded(Spec):
    """Columns ``(4 + C + E, N)`` decoded in the graph: boxes in row pixels, class probabilities, extras.

    Attributes:
        form: ``decoded``.
        output: name of the output.
        box_format: ``cxcywh`` is what Ultralytics exports; boxes that turn are ``cxcywh`` before they turn.
    """

    form: Literal["decoded"]
    output: OutputName
    box_format: Literal["cxcywh", "xyxy"]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)


class DflMasks(Spec):
    """``num`` mask coefficients a column, to be joined with prototype maps.

    Attributes:
        extra: ``masks``.
        num: how many coefficients, and prototypes.
        prototypes: name of the output ``(num, h, w)``.
        threshold: a pixel belongs to the object at this probability or more.
    """

    extra: Literal["masks"]
    num: Count
    prototypes: OutputName
    threshold: Probability


class DflKeypoints(Spec):
    """``num`` points a column, each x, y (and a score where ``scored``).

    Attributes:
        extra: ``keypoints``.
        num: how many points.
        scored: three channels a point, the third its score; else two.
    """

    extra: Literal["keypoints"]
    num: Count
    scored: bool


class DflAngle(Spec):
    """One angle a column: the box turned about its centre, from x towards y (clockwise as seen), in radians.

    Attributes:
        extra: ``angle``.
    """

    extra: Literal["angle"]


class YoloDfl(Spec):
    """Anchor-free heads of YOLOv8, v9 and v11: a distribution for each side of the box, no objectness.

    Attributes:
        kind: ``yolo_dfl``.
        layout: raw maps, raw columns, or columns that the graph has decoded.
        extra: what the ``E`` channels after the classes hold, or null where there are none.
        multi_label: every class at or above the threshold is a candidate (the evaluation setting), not the best alone.
    """

    kind: Literal["yolo_dfl"]
    layout: Annotated[DflMaps | DflColumns | DflDecoded, Field(discriminator="form")]
    extra: Annotated[DflMasks | DflKeypoints | DflAngle, Field(discriminator="extra")] | None
    multi_label: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        prototypes = (self.extra.prototypes,) if isinstance(self.extra, DflMasks) else ()
        return (*self.layout.output_names, *prototypes)


class EndToEnd(Spec):
    """Rows ``(M, 6)`` that need no suppression: x1, y1, x2, y2, score, class; padded with low scores.

    Attributes:
        kind: ``end_to_end``.
        output: name of the output.
        unit: of the boxes: ``pixel`` of the row, or ``normalized`` by its sides to 0..1.
        num_classes: how many classes there are; the outputs do not say.
    """

    kind: Literal["end_to_end"]
    output: OutputName
    unit: Literal["pixel", "normalized"]
    num_classes: Count

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.output,)
