"""Rows of box, objectness and classes: YOLOX's, and YOLOv5's and v7's decoded in the graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from export.doctor.cells import CellLayout, cell_layouts
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, are_whole, correlation, span
from pipelines.specs import YoloV5, YoloV5Decoded, Yolox

_BEFORE_CLASSES = 5


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(N, 5 + C)`` with one line, or one for each of three anchors, a cell."""
    for seen in sighting.of_rank(2):
        count, columns = seen.shape
        if columns <= _BEFORE_CLASSES or seen.always(lambda value: are_whole(value[:, -1])):
            continue
        for layout in cell_layouts(count, sighting.row_hw)[:1]:
            if layout.per_cell in (1, 3):
                yield from _rows(seen, layout, sighting)


def _rows(seen: Seen, layout: CellLayout, sighting: Sighting) -> Iterator[Proposal]:
    probabilities = seen.always(lambda value: are_probabilities(value[:, 4:]))
    follows = correlation(seen.first[:, 0], layout.centers()[:, 0])
    in_pixels = follows > 0.9 or float(np.abs(seen.first[:, :4]).max()) > max(layout.strides)
    common = [
        Evidence(TELLING, f"{seen.name!r} has {layout.per_cell} line(s) a cell: {layout}"),
        Evidence(
            TELLING if probabilities else SLIGHT,
            f"columns from 4 on are {'' if probabilities else 'no '}probabilities ({span(seen.first[:, 4:])})",
        ),
    ]
    if probabilities:
        yield _decoded(seen, layout, sighting, common, follows=follows, in_pixels=in_pixels)
    if layout.per_cell == 1:
        yield _raw(seen, layout, sighting, common, in_pixels=in_pixels, probabilities=probabilities)


def _decoded(
    seen: Seen, layout: CellLayout, sighting: Sighting, common: list[Evidence], *, follows: float, in_pixels: bool
) -> Proposal:
    evidence = [*common]
    if layout.per_cell == 3:
        evidence.append(Evidence(TELLING, "three anchors a cell, as YOLOv5 and YOLOv7 have"))
    if follows > 0.9:
        evidence.append(Evidence(DISTINCTIVE, f"boxes lie at their cells: column 0 follows the grid ({follows:.2f})"))
    evidence.append(
        Evidence(SLIGHT, f"columns 0 to 3 are in pixels ({span(seen.first[:, :4])})")
        if in_pixels
        else Evidence(-DISTINCTIVE, f"columns 0 to 3 are not in pixels ({span(seen.first[:, :4])})")
    )
    decoder = YoloV5(kind="yolo_v5", layout=YoloV5Decoded(form="decoded", output=seen.name), multi_label=False)
    convention = "Ultralytics" if layout.per_cell == 3 else "YOLOX"
    feed, doubts = feed_as(convention, sighting)
    return Proposal(
        title="YOLOv5/v7 rows"
        if layout.per_cell == 3
        else "rows with objectness (YOLOX and its like), decoded in the graph",
        head=detection_flags(decoder, score=0.25, iou=0.45),
        feed=feed,
        evidence=tuple(evidence),
        doubts=doubts,
        num_classes=seen.shape[1] - _BEFORE_CLASSES,
    )


def _raw(
    seen: Seen, layout: CellLayout, sighting: Sighting, common: list[Evidence], *, in_pixels: bool, probabilities: bool
) -> Proposal:
    activation: Literal["none", "sigmoid"] = "none" if probabilities else "sigmoid"
    evidence = [
        *common,
        Evidence(-DISTINCTIVE, "columns 0 to 3 are in pixels already")
        if in_pixels
        else Evidence(TELLING, f"columns 0 to 3 are offsets and logarithms ({span(seen.first[:, :4])})"),
    ]
    decoder = Yolox(kind="yolox", output=seen.name, strides=layout.strides, activation=activation, multi_label=False)
    feed, doubts = feed_as("YOLOX", sighting)
    return Proposal(
        title="YOLOX rows",
        head=detection_flags(decoder, score=0.25, iou=0.45),
        feed=feed,
        evidence=tuple(evidence),
        doubts=doubts,
        num_classes=seen.shape[1] - _BEFORE_CLASSES,
    )
