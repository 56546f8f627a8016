"""Anchor grids as maps: YOLOv2 and v3, and the raw maps of YOLOv5 and v7."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from export.doctor.cells import map_stride
from export.doctor.families.yolo_dfl import grouped_maps
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from pipelines.specs import Decoder, YoloGrid, YoloV5, YoloV5Maps

Anchors: TypeAlias = tuple[tuple[float, float], ...]
_BEFORE_CLASSES = 5

# Published with YOLOv3 for COCO, in row pixels by stride; YOLOv5 has the same.
_V3: Mapping[int, Anchors] = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
_V3_TINY: Mapping[int, Anchors] = {16: ((10, 14), (23, 27), (37, 58)), 32: ((81, 82), (135, 169), (344, 319))}
# Published with YOLOv2 for COCO, in cells of stride 32.
_V2: Anchors = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Maps ``(A * (5 + C), h, w)``, ``(h, w, A * (5 + C))``, ``(A, h, w, 5 + C)`` or ``(h, w, A, 5 + C)``."""
    for group in grouped_maps(sighting):
        yield from _flat(group, sighting, channel_order="chw")
    yield from _flat(_channels_last(sighting), sighting, channel_order="hwc")
    yield from _by_anchor(sighting)


def _channels_last(sighting: Sighting) -> list[tuple[Seen, int]]:
    found = [(seen, map_stride((seen.shape[0], seen.shape[1]), sighting.row_hw)) for seen in sighting.of_rank(3)]
    return [(seen, stride) for seen, stride in found if stride is not None and stride >= 8]


def _flat(
    group: Sequence[tuple[Seen, int]], sighting: Sighting, *, channel_order: Literal["chw", "hwc"]
) -> Iterator[Proposal]:
    if not group:
        return
    strides = tuple(stride for _, stride in group)
    channels = group[0][0].shape[0 if channel_order == "chw" else -1]
    names = tuple(seen.name for seen, _ in group)
    for per_cell in (3, 5):
        attributes, rest = divmod(channels, per_cell)
        if rest or attributes <= _BEFORE_CLASSES or (per_cell == 5 and len(group) > 1):
            continue
        evidence = [
            Evidence(TELLING, f"{len(group)} map(s) at strides {', '.join(map(str, strides))}"),
            Evidence(
                TELLING, f"{channels} channels = {per_cell} anchors x (5 + {attributes - _BEFORE_CLASSES} classes)"
            ),
        ]
        if per_cell == 5 and strides != (32,):
            evidence.append(Evidence(-TELLING, "five anchors are YOLOv2's, whose stride is 32"))
        anchors, unit = _anchors(strides, per_cell)
        grid = YoloGrid(
            kind="yolo_grid",
            outputs=names,
            strides=strides,
            anchors=anchors,
            anchor_unit=unit,
            channel_order=channel_order,
            class_activation="softmax" if per_cell == 5 else "sigmoid",
            objectness="sigmoid",
        )
        version = "v2" if per_cell == 5 else "v3"
        yield _proposal(f"YOLO{version} anchor grids", grid, evidence, sighting, attributes, "anchors", "Darknet")
        if per_cell == 3 and channel_order == "chw":
            maps = YoloV5Maps(form="maps", outputs=names, strides=strides, anchors=anchors, channel_order="chw")
            v5 = YoloV5(kind="yolo_v5", layout=maps, multi_label=False)
            yield _proposal("YOLOv5/v7 raw maps", v5, evidence, sighting, attributes, "layout", "Ultralytics")


def _by_anchor(sighting: Sighting) -> Iterator[Proposal]:
    """Maps of four axes: the anchors first (YOLOv5), or behind the cells (Keras ports of YOLOv3)."""
    first: list[tuple[Seen, int]] = []
    behind: list[tuple[Seen, int]] = []
    for seen in sighting.of_rank(4):
        if (stride := map_stride((seen.shape[1], seen.shape[2]), sighting.row_hw)) is not None:
            first.append((seen, stride))
        elif (stride := map_stride((seen.shape[0], seen.shape[1]), sighting.row_hw)) is not None:
            behind.append((seen, stride))
    for group, axis in ((first, 0), (behind, 2)):
        if not group or group[0][0].shape[3] <= _BEFORE_CLASSES:
            continue
        names, strides = tuple(seen.name for seen, _ in group), tuple(stride for _, stride in group)
        per_cell, attributes = group[0][0].shape[axis], group[0][0].shape[3]
        anchors, unit = _anchors(strides, per_cell)
        where = "first" if axis == 0 else "behind the cells"
        evidence = [Evidence(DISTINCTIVE, f"{len(group)} map(s) of four axes, {per_cell} anchors {where}")]
        if axis == 0:
            maps = YoloV5Maps(form="maps", outputs=names, strides=strides, anchors=anchors, channel_order="ahwc")
            v5 = YoloV5(kind="yolo_v5", layout=maps, multi_label=False)
            yield _proposal("YOLOv5/v7 raw maps", v5, evidence, sighting, attributes, "layout", "Ultralytics")
        else:
            grid = YoloGrid(
                kind="yolo_grid",
                outputs=names,
                strides=strides,
                anchors=anchors,
                anchor_unit=unit,
                channel_order="hwc",
                class_activation="sigmoid",
                objectness="sigmoid",
            )
            yield _proposal("YOLOv3 anchor grids", grid, evidence, sighting, attributes, "anchors", "Darknet")


def _anchors(strides: tuple[int, ...], per_cell: int) -> tuple[tuple[Anchors, ...], Literal["cell", "pixel"]]:
    """Published anchors of these strides; where none are, squares of four cells and their multiples."""
    if per_cell == 5 and strides == (32,):
        return (_V2,), "cell"
    table = _V3_TINY if sorted(strides) == [16, 32] else _V3
    if per_cell == 3 and all(stride in table for stride in strides):
        return tuple(table[stride] for stride in strides), "pixel"
    sides = [[stride * 4.0 * 2 ** (i / per_cell) for i in range(per_cell)] for stride in strides]
    return tuple(tuple((side, side) for side in level) for level in sides), "pixel"


def _proposal(
    title: str,
    decoder: Decoder,
    evidence: Sequence[Evidence],
    sighting: Sighting,
    attributes: int,
    field: str,
    convention: str,
) -> Proposal:
    feed, doubts = feed_as(convention, sighting)
    usual = Evidence(SLIGHT, "exporters leave YOLOv3's maps flat") if title.startswith("YOLOv3") else None
    text = "the anchors are not in the outputs: those published for COCO are assumed"
    return Proposal(
        title=title,
        head=detection_flags(decoder, score=0.25, iou=0.45),
        feed=feed,
        evidence=(*evidence, *([usual] if usual else [])),
        doubts=(doubt(text, f"decoder_field:{field}"), *doubts),
        num_classes=attributes - _BEFORE_CLASSES,
    )
