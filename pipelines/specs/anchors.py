"""What raw outputs mean to heads with anchors, with points of a grid, or with a fixed set of queries."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.base import Count, OutputName, Positive, Spec

ClassActivation: TypeAlias = Literal["softmax", "sigmoid", "none"]
Background: TypeAlias = Literal["first", "last", "none"]
CellStep: TypeAlias = Literal["stride", "spread", "spread_floor"]


class SizedLevel(Spec):
    """Anchors of one feature map, each size with each aspect ratio: height size * sqrt(r), width size / sqrt(r).

    Attributes:
        stride: row pixels a cell; the map has ceil(row side / stride) cells.
        sizes: square root of an anchor's area, row pixels.
        aspect_ratios: height / width.
    """

    stride: Count
    sizes: tuple[Positive, ...] = Field(min_length=1)
    aspect_ratios: tuple[Positive, ...] = Field(min_length=1)


class SizedAnchors(Spec):
    """Anchors in row pixels by size and aspect ratio, the same at every cell (Faster R-CNN, RetinaNet).

    torchvision's ``AnchorGenerator`` is order ``ratio_major``, rounding ``half_even``, center_shift 0, step
    ``spread_floor``.

    Attributes:
        kind: ``sized``.
        levels: feature maps, in the order in which the outputs list them.
        order: of the anchors of a cell: ``ratio_major`` = the sizes of the first ratio come first; ``size_major`` = the
            ratios of the first size come first.
        rounding: of the corners around a centre: ``half_even`` to whole pixels (computed in float32), or ``none``.
        center_shift: from a cell's top left corner to its anchors' centre, in cells: 0, or 0.5 for the cell's middle.
        step: row pixels from one centre to the next: ``stride``; ``spread`` = row side / cells; ``spread_floor`` = that
            rounded down. They differ only where a row's side is no multiple of the stride.
    """

    kind: Literal["sized"]
    levels: tuple[SizedLevel, ...] = Field(min_length=1)
    order: Literal["ratio_major", "size_major"]
    rounding: Literal["half_even", "none"]
    center_shift: float
    step: CellStep


class DefaultLevel(Spec):
    """Default boxes of one feature map.

    Attributes:
        stride: row pixels a cell; the map has ceil(row side / stride) cells.
        aspect_ratios: width / height of the boxes beside the two squares; each adds a box ``r`` and a box ``1 / r``.
    """

    stride: Count
    aspect_ratios: tuple[Positive, ...]


class DefaultBoxes(Spec):
    """SSD's default boxes (arXiv:1512.02325, section 2.2), sides as fractions of the row's sides.

    At each cell of level ``k``, in this order: ``s[k]`` square; ``sqrt(s[k] * s[k + 1])`` square; then for each aspect
    ratio ``r`` width ``s[k] * sqrt(r)``, height ``s[k] / sqrt(r)``, and the same turned. Centres are cell middles.

    Attributes:
        kind: ``default_boxes``.
        levels: feature maps, in the order in which the outputs list them.
        scales: ``s``, one more than there are levels.
        clip: limit widths and heights to the row's.
        step: row pixels from one centre to the next: ``stride``, or ``spread`` = row side / cells.
    """

    kind: Literal["default_boxes"]
    levels: tuple[DefaultLevel, ...] = Field(min_length=1)
    scales: tuple[Positive, ...]
    clip: bool
    step: Literal["stride", "spread"]

    @model_validator(mode="after")
    def _a_scale_after_each_level(self) -> Self:
        if len(self.scales) != len(self.levels) + 1:
            raise ValueError(f"scales must be {len(self.levels) + 1}, one more than levels, got {len(self.scales)}")
        return self


class BoxDelta(Spec):
    """Boxes as offsets from reference boxes: SSD, RetinaNet, the second stage of Faster R-CNN.

    The outputs list the references level by level, each map row by row, the anchors of a cell together.

    Attributes:
        kind: ``box_delta``.
        classes: output ``(N, C)`` a row.
        deltas: output dx, dy, dw, dh a row: ``(N, 4)`` or ``(N, 4*C)``, as ``deltas_per`` says.
        proposals: output ``(N, 4)`` of reference boxes, xyxy in row pixels; null: they are ``anchors``.
        anchors: reference boxes made from the row's size; null: they are ``proposals``.
        deltas_per: ``anchor`` = one box for all classes; ``column`` = one for each of the ``C`` columns of ``classes``
            (torchvision); ``class`` = one for each column but the background (Detectron2).
        weights: by which dx, dy, dw, dh are divided. SSD's variances are their inverses: 0.1, 0.1, 0.2, 0.2 is 10, 10,
            5, 5.
        max_log_scale: largest dw and dh after the division; log(1000 / 16) in torchvision. Null: no limit.
        class_activation: over ``classes``; ``none``: they are probabilities already.
        background: the column of ``classes`` that is no class; ``none``: all are classes.
        clip_to_row: corners are moved inside the row, before suppression.
        min_side: boxes with a shorter side, in row pixels, are dropped; 0 drops none.
    """

    kind: Literal["box_delta"]
    classes: OutputName
    deltas: OutputName
    proposals: OutputName | None
    anchors: Annotated[SizedAnchors | DefaultBoxes, Field(discriminator="kind")] | None
    deltas_per: Literal["anchor", "column", "class"]
    weights: tuple[Positive, Positive, Positive, Positive]
    max_log_scale: Positive | None
    class_activation: ClassActivation
    background: Background
    clip_to_row: bool
    min_side: Annotated[float, Field(ge=0)]

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        names = (self.classes, self.deltas, self.proposals)
        return tuple(name for name in names if name is not None)

    @model_validator(mode="after")
    def _one_reference(self) -> Self:
        if (self.proposals is None) == (self.anchors is None):
            raise ValueError("exactly one of proposals and anchors must be given")
        return self


class Fcos(Spec):
    """Distances from points of a grid to the sides of a box, and how central the point is.

    The outputs list the points level by level, each map row by row. torchvision's model is step ``spread_floor``,
    center_shift 0, distance_unit ``stride``, score ``geometric_mean``.

    Attributes:
        kind: ``fcos``.
        classes: output ``(N, C)`` a row, logits; every column is a class.
        distances: output ``(N, 4)`` a row: to left, top, right, bottom, as the box needs them (after exp or ReLU).
        centerness: output ``(N, 1)`` a row, logits.
        strides: row pixels a cell, in the order in which the outputs list the maps; a map has ceil(row side / stride)
            cells.
        step: row pixels from one point to the next; see :class:`SizedAnchors`.
        center_shift: from a cell's top left corner to its point, in cells: 0, or 0.5 for the cell's middle.
        distance_unit: ``stride`` of the map, or ``pixel`` of the row.
        score: ``geometric_mean`` = sqrt(class * centerness), or their ``product``.
        clip_to_row: corners are moved inside the row, before suppression.
    """

    kind: Literal["fcos"]
    classes: OutputName
    distances: OutputName
    centerness: OutputName
    strides: tuple[Count, ...] = Field(min_length=1)
    step: CellStep
    center_shift: float
    distance_unit: Literal["stride", "pixel"]
    score: Literal["geometric_mean", "product"]
    clip_to_row: bool

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.classes, self.distances, self.centerness)


class SetPrediction(Spec):
    """A fixed set of queries, each one object or none; no suppression is needed: DETR and its descendants.

    DETR is softmax, background ``last``, per ``query``, no limit. RT-DETR and Deformable DETR are sigmoid, background
    ``none``, per ``query_class``, with a limit of 300 and 100.

    Attributes:
        kind: ``set_prediction``.
        classes: output ``(Q, C)`` a row.
        boxes: output ``(Q, 4)`` a row: centre x, centre y, width, height as fractions of the row's sides.
        class_activation: over ``classes``; ``none``: they are probabilities already.
        background: the column of ``classes`` that means no object; ``none``: all are classes.
        per: ``query`` = the best class of each query is a candidate; ``query_class`` = every class of each query is.
        top_k: only so many best candidates are kept; null: all.
    """

    kind: Literal["set_prediction"]
    classes: OutputName
    boxes: OutputName
    class_activation: ClassActivation
    background: Background
    per: Literal["query", "query_class"]
    top_k: Count | None

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (self.classes, self.boxes)


class PriorLevel(Spec):
    """Square priors of one feature map.

    Attributes:
        stride: row pixels a cell; the map has ceil(row side / stride) cells.
        min_sizes: sides of the priors of a cell, row pixels.
    """

    stride: Count
    min_sizes: tuple[Positive, ...] = Field(min_length=1)


class FacePriors(Spec):
    """Boxes and points relative to square priors (RetinaFace).

    Attributes:
        form: ``priors``.
        levels: feature maps, in the order in which the outputs list them.
        variances: of centres and points, and of sides: 0.1, 0.2.
    """

    form: Literal["priors"]
    levels: tuple[PriorLevel, ...] = Field(min_length=1)
    variances: tuple[Positive, Positive]


class FaceDistances(Spec):
    """Distances from anchor centres, in strides (SCRFD).

    Attributes:
        form: ``distances``.
        strides: row pixels a cell, in the order in which the outputs list the maps; a map has ceil(row side / stride)
            cells.
        anchors_per_cell: how many predictions each cell makes, all from the same centre.
    """

    form: Literal["distances"]
    strides: tuple[Count, ...] = Field(min_length=1)
    anchors_per_cell: Count


class RetinaLandmarks(Spec):
    """Faces with five points: RetinaFace and SCRFD.

    Each field of outputs names one output for all feature maps together, or one for each of them.

    Attributes:
        kind: ``retina_landmarks``.
        classes: outputs ``(N, 1)`` a row, or ``(N, 2)`` with a background.
        boxes: outputs ``(N, 4)`` a row.
        landmarks: outputs ``(N, 10)`` a row, x and y of each point; null where the model has none.
        coding: how boxes and points are written.
        center_shift: from a cell's top left corner to its anchors' centre, in cells: 0.5 for RetinaFace, 0 for SCRFD.
        class_activation: over ``classes``; ``none``: they are probabilities already.
        background: the column of ``classes`` that is no face; ``none``: there is but one.
    """

    kind: Literal["retina_landmarks"]
    classes: tuple[OutputName, ...] = Field(min_length=1)
    boxes: tuple[OutputName, ...]
    landmarks: tuple[OutputName, ...] | None
    coding: Annotated[FacePriors | FaceDistances, Field(discriminator="form")]
    center_shift: float
    class_activation: ClassActivation
    background: Background

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph outputs that it reads."""
        return (*self.classes, *self.boxes, *(self.landmarks or ()))

    @model_validator(mode="after")
    def _outputs_for_levels(self) -> Self:
        levels = len(self.coding.levels if isinstance(self.coding, FacePriors) else self.coding.strides)
        for name in ("classes", "boxes", "landmarks"):
            outputs = getattr(self, name)
            if outputs is not None and len(outputs) != len(self.classes):
                raise ValueError(f"{name} must be {len(self.classes)}, as many as classes, got {len(outputs)}")
        if len(self.classes) not in (1, levels):
            raise ValueError(f"classes must be 1 or {levels}, one for each feature map, got {len(self.classes)}")
        return self
