"""Box offsets from anchors or proposals: SSD, RetinaNet, the second stage of Faster R-CNN."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from export.doctor.cells import CellLayout, cell_layouts
from export.doctor.families.tables import Table, are_offsets, class_coding, tables
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_corners, span
from pipelines.specs import BoxDelta, DefaultBoxes, DefaultLevel, SizedAnchors, SizedLevel

_LARGEST_LOG_SCALE = math.log(1000 / 16)  # torchvision's.
_SSD_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


@dataclass(frozen=True)
class _Ssd:
    title: str
    row_hw: tuple[int, int]
    boxes: DefaultBoxes


def _default_boxes(
    levels: tuple[tuple[int, tuple[float, ...]], ...], scales: tuple[float, ...], step: str
) -> DefaultBoxes:
    return DefaultBoxes(
        kind="default_boxes",
        levels=tuple(DefaultLevel(stride=stride, aspect_ratios=ratios) for stride, ratios in levels),
        scales=scales,
        clip=True,
        step="spread" if step == "spread" else "stride",
    )


_MANY, _FEW = (2.0, 3.0), (2.0,)
# Published default boxes, by how many there are: arXiv:1512.02325, section 3.1 (VGG), and torchvision's SSDlite.
_SSD: Mapping[int, _Ssd] = {
    8732: _Ssd(
        "SSD300 (VGG)",
        (300, 300),
        _default_boxes(
            ((8, _FEW), (16, _MANY), (32, _MANY), (64, _MANY), (100, _FEW), (300, _FEW)),
            (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
            "stride",
        ),
    ),
    3234: _Ssd(
        "SSDlite320 (MobileNetV3)",
        (320, 320),
        _default_boxes(tuple((16 * 2**i, _MANY) for i in range(6)), (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0), "spread"),
    ),
}


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(N, C)`` and ``(N, 4)`` of signed offsets; or ``(N, C)``, ``(N, 4C)`` and ``(N, 4)`` corners."""
    for table in tables(sighting):
        deltas = table.only(4)
        if deltas is None:
            continue
        if are_offsets(deltas) and not table.is_of_faces:
            for classes in table.classes(deltas):
                yield from _with_anchors(classes, deltas, table, sighting)
        elif deltas.always(are_corners):
            yield from _with_proposals(table, deltas, sighting)


def _with_anchors(classes: Seen, deltas: Seen, table: Table, sighting: Sighting) -> Iterator[Proposal]:
    common = [Evidence(TELLING, f"{deltas.name!r} holds four signed offsets a line ({span(deltas.first)})")]
    known = _SSD.get(table.lines)
    if known is not None:
        common.append(Evidence(DISTINCTIVE, f"{table.lines} lines are the default boxes of {known.title}"))
        yield _proposal(known.title, known.boxes, classes, deltas, common, sighting, ssd=True)
        return
    for layout in cell_layouts(table.lines, sighting.row_hw)[:1]:
        if layout.per_cell >= 2:
            common.append(Evidence(TELLING, f"{classes.name!r} has {layout.per_cell} lines a cell: {layout}"))
            published = layout.per_cell == 9 and layout.strides == (8, 16, 32, 64, 128)
            if published:
                common.append(Evidence(TELLING, "nine anchors at strides 8 to 128, as RetinaNet has"))
            title = "RetinaNet" if published else "anchors with offsets"
            yield _proposal(title, _sized(layout), classes, deltas, common, sighting, ssd=False)


def _sized(layout: CellLayout) -> SizedAnchors:
    """RetinaNet's anchors (arXiv:1708.02002, section 4): three sizes from four cells on, three ratios."""
    side = math.isqrt(layout.per_cell)
    ratios = (0.5, 1.0, 2.0) if layout.per_cell % 3 == 0 else (1.0,)
    sizes = side if side * side == layout.per_cell and len(ratios) == 3 else layout.per_cell // len(ratios)
    return SizedAnchors(
        kind="sized",
        levels=tuple(
            SizedLevel(
                stride=stride,
                sizes=tuple(float(int(4 * stride * 2 ** (i / sizes))) for i in range(sizes)),
                aspect_ratios=ratios,
            )
            for stride in layout.strides
        ),
        order="ratio_major",
        rounding="half_even",
        center_shift=0.0,
        step="spread_floor",
    )


def _proposal(
    title: str,
    anchors: SizedAnchors | DefaultBoxes,
    classes: Seen,
    deltas: Seen,
    common: list[Evidence],
    sighting: Sighting,
    *,
    ssd: bool,
) -> Proposal:
    shown = class_coding(classes)
    activation, background, why = shown or (
        ("softmax", "first", "logits: a softmax with a background, as in SSD")
        if ssd
        else ("sigmoid", "none", "logits: a sigmoid each, as in RetinaNet")
    )
    evidence = [*common, Evidence(TELLING if shown else SLIGHT, why)]
    decoder = BoxDelta(
        kind="box_delta",
        classes=classes.name,
        deltas=deltas.name,
        proposals=None,
        anchors=anchors,
        deltas_per="anchor",
        weights=_SSD_WEIGHTS if ssd else (1.0, 1.0, 1.0, 1.0),
        max_log_scale=_LARGEST_LOG_SCALE,
        class_activation=activation,
        background=background,
        clip_to_row=True,
        min_side=0.0,
    )
    unsure = [doubt(f"the anchors are not in the outputs: those of {title} are assumed", "decoder_field:anchors")]
    if shown is None:
        unsure.append(doubt("logits do not show their activation or background", "decoder_field:class_activation"))
    feed, doubts = feed_as("torchvision's SSD" if ssd else "torchvision's detectors", sighting)
    return Proposal(
        title=f"box offsets: {title}",
        head=detection_flags(decoder, score=0.05 if not ssd else 0.3, iou=0.5),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=classes.shape[1] - (background != "none"),
    )


def _with_proposals(table: Table, proposals: Seen, sighting: Sighting) -> Iterator[Proposal]:
    for classes in table.classes(proposals):
        deltas = table.only(4 * classes.shape[1])
        if deltas is None or deltas is classes:
            continue
        shown = class_coding(classes)
        decoder = BoxDelta(
            kind="box_delta",
            classes=classes.name,
            deltas=deltas.name,
            proposals=proposals.name,
            anchors=None,
            deltas_per="column",
            weights=_SSD_WEIGHTS,
            max_log_scale=_LARGEST_LOG_SCALE,
            class_activation="none" if shown else "softmax",
            background="first",
            clip_to_row=True,
            min_side=0.01,
        )
        feed, doubts = feed_as("torchvision's detectors", sighting)
        yield Proposal(
            title="box offsets from proposals: Faster R-CNN's second stage",
            head=detection_flags(decoder, score=0.05, iou=0.5, most=100),
            feed=feed,
            evidence=(
                Evidence(DISTINCTIVE, f"{proposals.name!r} holds corners ({span(proposals.first)})"),
                Evidence(DISTINCTIVE, f"{deltas.name!r} has four columns for each of {classes.name!r}"),
            ),
            doubts=(
                doubt("the background is the first column, as in torchvision", "decoder_field:background"),
                *doubts,
            ),
            num_classes=classes.shape[1] - 1,
        )
