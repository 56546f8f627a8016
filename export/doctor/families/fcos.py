"""Distances from the points of a grid, with centerness (FCOS)."""

from __future__ import annotations

from collections.abc import Iterator

from export.doctor.cells import CellLayout, cell_layouts
from export.doctor.families.tables import Table, are_distances, tables
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from pipelines.specs import Fcos


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(N, C)``, ``(N, 4)`` without a negative value, and ``(N, 1)``, with one line a cell."""
    for table in tables(sighting):
        distances, centerness = table.only(4), table.only(1)
        if distances is None or centerness is None or not are_distances(distances):
            continue
        for layout in cell_layouts(table.lines, sighting.row_hw, per_cell=1)[:1]:
            for classes in table.classes(distances, centerness):
                yield _proposal(classes, distances, centerness, layout, table, sighting)


def _proposal(
    classes: Seen, distances: Seen, centerness: Seen, layout: CellLayout, table: Table, sighting: Sighting
) -> Proposal:
    evidence = [
        Evidence(DISTINCTIVE, f"{distances.name!r} holds four distances, none below 0, {centerness.name!r} one value"),
        Evidence(TELLING, f"{table.lines} lines, one a cell: {layout}"),
    ]
    if "ctr" in centerness.name.lower() or "center" in centerness.name.lower():
        evidence.append(Evidence(TELLING, f"{centerness.name!r} says what it is"))
    if layout.strides == (8, 16, 32, 64, 128):
        evidence.append(Evidence(SLIGHT, "strides 8 to 128, as FCOS has"))
    decoder = Fcos(
        kind="fcos",
        classes=classes.name,
        distances=distances.name,
        centerness=centerness.name,
        strides=layout.strides,
        step="spread_floor",
        center_shift=0.0,
        distance_unit="stride",
        score="geometric_mean",
        clip_to_row=True,
    )
    feed, doubts = feed_as("torchvision's detectors", sighting)
    text = "the unit of distances and where points lie are as in torchvision: strides, and the cell's corner"
    return Proposal(
        title="FCOS",
        head=detection_flags(decoder, score=0.2, iou=0.6, most=100),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(doubt(text, "decoder_field:distance_unit", "decoder_field:center_shift"), *doubts),
        num_classes=classes.shape[1],
    )
