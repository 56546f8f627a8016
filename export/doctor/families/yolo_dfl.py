"""Anchor-free columns and maps of YOLOv8, v9 and v11: decoded in the graph, or as distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from export.doctor.cells import CellLayout, cell_layouts, map_stride
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Doubt, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_corners, are_probabilities, correlation, span
from pipelines.specs import DflAngle, DflColumns, DflDecoded, DflKeypoints, DflMaps, DflMasks, YoloDfl

_REG_MAX = 16  # of every published model.
_OTHER_REG_MAX = (8, 4)
_BOX = 4
Extra = DflMasks | DflKeypoints | DflAngle | None


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(4 + C + E, N)`` or ``(4 * reg_max + C, N)`` with a column a cell, and maps of the latter."""
    for seen in sighting.of_rank(2):
        channels, count = seen.shape
        for layout in cell_layouts(count, sighting.row_hw, per_cell=1)[:1]:
            if channels > _BOX and seen.always(lambda value: value.shape[0] < value.shape[1]):
                yield from _decoded(seen, layout, sighting)
                yield from _columns(seen, layout, sighting)
    yield from _maps(sighting)


def _decoded(seen: Seen, layout: CellLayout, sighting: Sighting) -> Iterator[Proposal]:
    last = _last_probability(seen)
    if last < _BOX:
        return
    extra, num_classes, reason = _extra(seen, last, sighting)
    if num_classes < 1:
        return
    corners = seen.always(lambda value: are_corners(value[:_BOX].T)) and not isinstance(extra, DflAngle)
    box_format: Literal["cxcywh", "xyxy"] = "xyxy" if corners else "cxcywh"
    evidence = [
        Evidence(DISTINCTIVE, f"{seen.name!r} has a column a cell: {layout}"),
        Evidence(TELLING, f"rows 4 to {3 + num_classes} are probabilities ({span(seen.first[4 : 4 + num_classes])})"),
        *_of_boxes(seen.first[:_BOX], layout, corners=corners),
        *([Evidence(TELLING, reason)] if reason else []),
    ]
    feed, doubts = feed_as("Ultralytics", sighting)
    decoder = YoloDfl(
        kind="yolo_dfl",
        layout=DflDecoded(form="decoded", output=seen.name, box_format=box_format),
        extra=extra,
        multi_label=False,
    )
    yield Proposal(
        title=f"YOLOv8/v9/v11, decoded in the graph{_named(extra)}",
        head=detection_flags(decoder, score=0.25, iou=0.7),
        feed=feed,
        evidence=tuple(evidence),
        doubts=doubts,
        num_classes=num_classes,
    )


def _last_probability(seen: Seen) -> int:
    """Index of the last row before the first one, from the box on, that holds other values than probabilities."""
    for row in range(_BOX, seen.shape[0]):
        if not seen.always(lambda value, row=row: are_probabilities(value[row])):  # type: ignore[misc]
            return row - 1
    return seen.shape[0] - 1


def _extra(seen: Seen, last: int, sighting: Sighting) -> tuple[Extra, int, str]:
    """What stands behind the classes, how many classes there are, and why."""
    rest = seen.shape[0] - _BOX
    said = sighting.said
    prototypes = _prototypes(seen, sighting)
    if prototypes is not None:
        num, height, width = prototypes.shape
        text = f"{prototypes.name!r} holds {num} prototype maps of {height}x{width}, one for each of the last rows"
        return DflMasks(extra="masks", num=num, prototypes=prototypes.name, threshold=0.5), rest - num, text
    if said is not None and said.keypoints is not None:
        num, scored = said.keypoints
        points = DflKeypoints(extra="keypoints", num=num, scored=scored)
        return points, rest - num * (3 if scored else 2), f"{said.by} says that there are {num} keypoints"
    if said is not None and said.turns:
        return DflAngle(extra="angle"), rest - 1, f"{said.by} says that boxes turn"
    more = seen.shape[0] - 1 - last
    if more == 1:
        return (
            DflAngle(extra="angle"),
            rest - 1,
            f"the last row is no probability but an angle ({span(seen.first[-1])})",
        )
    if more >= 2:
        # x and y of the last point are no probabilities, its score is one: the block may end with one that is.
        scored = more % 3 == 0 and seen.always(
            lambda value: are_probabilities(value[last + 1 :].reshape(-1, 3, value.shape[1])[:, 2])
        )
        if scored or more % 2 == 0:
            num = more // (3 if scored else 2)
            text = f"the last {more} rows are {num} points{' with scores' if scored else ''}"
            return DflKeypoints(extra="keypoints", num=num, scored=scored), rest - more, text
    return None, rest if more == 0 else 0, ""


def _prototypes(seen: Seen, sighting: Sighting) -> Seen | None:
    for other in sighting.of_rank(3):
        num, *map_hw = other.shape
        if map_stride((map_hw[0], map_hw[1]), sighting.row_hw) == 4 and 1 < num < seen.shape[0] - _BOX:
            return other
    return None


def _of_boxes(boxes: Any, layout: CellLayout, *, corners: bool) -> list[Evidence]:
    """What ``(4, N)`` rows show of boxes in row pixels."""
    centers = layout.centers()
    x = (boxes[0] + boxes[2]) / 2 if corners else boxes[0]
    follows = correlation(x, centers[:, 0])
    findings = []
    if follows > 0.9:
        findings.append(
            Evidence(DISTINCTIVE, f"boxes lie at their cells: x follows the grid (correlation {follows:.2f})")
        )
    if float(np.abs(boxes).max()) > max(layout.strides):
        findings.append(Evidence(SLIGHT, f"rows 0 to 3 are in pixels ({span(boxes)})"))
    else:
        findings.append(Evidence(-TELLING, f"rows 0 to 3 are not in pixels ({span(boxes)})"))
    if corners:
        findings.append(Evidence(TELLING, "rows 2 and 3 are never below rows 0 and 1: corners"))
    return findings


def _named(extra: Extra) -> str:
    words = {DflMasks: ", with masks", DflKeypoints: ", with keypoints", DflAngle: ", boxes that turn"}
    return "" if extra is None else words[type(extra)]


def _bins(channels: int, sighting: Sighting) -> tuple[int, int, tuple[Doubt, ...]] | None:
    """Bins a side and classes of so many channels, and what is not sure of it."""
    if sighting.num_labels is not None:
        bins, rest = divmod(channels - sighting.num_labels, _BOX)
        return None if rest or bins < 2 else (bins, sighting.num_labels, ())
    for bins in (_REG_MAX, *_OTHER_REG_MAX):
        if channels > _BOX * bins:
            text = (
                f"channels are {_BOX * bins} bins and {channels - _BOX * bins} classes: {bins} bins a side are assumed"
            )
            return bins, channels - _BOX * bins, (doubt(text, ("labels", "label", "decoder_field:layout")),)
    return None


def _columns(seen: Seen, layout: CellLayout, sighting: Sighting) -> Iterator[Proposal]:
    found = _bins(seen.shape[0], sighting)
    if found is None or _last_probability(seen) == seen.shape[0] - 1:
        return
    bins, num_classes, unsure = found
    activation: Literal["none", "sigmoid"] = (
        "none" if seen.always(lambda value: are_probabilities(value[_BOX * bins :])) else "sigmoid"
    )
    head = DflColumns(form="columns", output=seen.name, strides=layout.strides, reg_max=bins, activation=activation)
    evidence = [
        Evidence(TELLING, f"{seen.name!r} has a column a cell: {layout}"),
        *_of_bins(bins, num_classes, seen.shape[0]),
    ]
    yield _raw(head, evidence, unsure, num_classes, sighting)


def _maps(sighting: Sighting) -> Iterator[Proposal]:
    for group in grouped_maps(sighting):
        seen, strides = [one for one, _ in group], tuple(stride for _, stride in group)
        found = _bins(seen[0].shape[0], sighting)
        if found is None:
            continue
        bins, num_classes, unsure = found
        classes_are = all(one.always(lambda value: are_probabilities(value[_BOX * bins :])) for one in seen)  # noqa: B023
        head = DflMaps(
            form="maps",
            outputs=tuple(one.name for one in seen),
            strides=strides,
            reg_max=bins,
            activation="none" if classes_are else "sigmoid",
        )
        evidence = [
            Evidence(
                TELLING, f"{len(seen)} map(s) of {seen[0].shape[0]} channels at strides {', '.join(map(str, strides))}"
            ),
            *_of_bins(bins, num_classes, seen[0].shape[0]),
        ]
        yield _raw(head, evidence, unsure, num_classes, sighting)


def _of_bins(bins: int, num_classes: int, channels: int) -> list[Evidence]:
    usual = TELLING if bins == _REG_MAX else 0
    return [Evidence(usual, f"{channels} channels = 4 x {bins} bins + {num_classes} classes")]


def _raw(
    head: DflMaps | DflColumns,
    evidence: Sequence[Evidence],
    unsure: tuple[Doubt, ...],
    num_classes: int,
    sighting: Sighting,
) -> Proposal:
    feed, doubts = feed_as("Ultralytics", sighting)
    decoder = YoloDfl(kind="yolo_dfl", layout=head, extra=None, multi_label=False)
    return Proposal(
        title=f"YOLOv8/v9/v11 distributions, as {head.form}",
        head=detection_flags(decoder, score=0.25, iou=0.7),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=num_classes,
    )


def grouped_maps(sighting: Sighting) -> list[list[tuple[Seen, int]]]:
    """Maps ``(channels, h, w)`` of equal channels at different strides, from 8 on, with their strides."""
    groups: dict[int, list[tuple[Seen, int]]] = {}
    for seen in sighting.of_rank(3):
        channels, height, width = seen.shape
        stride = map_stride((height, width), sighting.row_hw)
        if stride is not None and stride >= 8:
            groups.setdefault(channels, []).append((seen, stride))
    return [group for group in groups.values() if len({stride for _, stride in group}) == len(group)]
