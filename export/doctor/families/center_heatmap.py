"""Centre maps: a heatmap with size and offset maps beside it, maybe landmarks (CenterNet, CenterFace)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from export.doctor.cells import map_stride
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, span
from pipelines.specs import CenterHeatmap

_OFFSET_NAMES, _SIZE_NAMES = ("off", "reg"), ("size", "wh", "scale", "dim")
_ORDERS: tuple[Literal["yx"], Literal["xy"]] = ("yx", "xy")
_LARGEST_LOG = 6.5  # exp(6.5) * stride 4 is 2,600 pixels.


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Maps of one grid: probabilities, exactly two of two channels, at most one of more."""
    by_grid: dict[tuple[int, ...], list[Seen]] = {}
    for seen in sighting.of_rank(3):
        by_grid.setdefault(seen.shape[1:], []).append(seen)
    for (height, width), maps in by_grid.items():
        stride = map_stride((height, width), sighting.row_hw)
        pairs = [seen for seen in maps if seen.shape[0] == 2]
        others = sorted((seen for seen in maps if seen.shape[0] != 2), key=lambda seen: seen.shape[0])
        # Landmarks may lie in 0..1, too; they are more channels than faces have classes.
        heat = [seen for seen in others if seen.always(are_probabilities)][:1]
        points = [seen for seen in others if seen not in heat and seen.shape[0] % 2 == 0]
        if stride is not None and stride >= 2 and len(pairs) == 2 and heat and len(points) <= 1:
            yield from _readings(heat[0], pairs, points, stride, sighting)


def _readings(heat: Seen, pairs: list[Seen], points: list[Seen], stride: int, sighting: Sighting) -> Iterator[Proposal]:
    named = _named(pairs)
    convention = "CenterFace" if points else "CenterNet"
    found = [
        Evidence(DISTINCTIVE, f"{heat.name!r} holds probabilities at stride {stride}, with two maps of two channels")
    ]
    if points:
        found.append(Evidence(TELLING, f"{points[0].name!r} holds {points[0].shape[0] // 2} landmarks"))
    for size, offset in (named,) if named else (pairs, pairs[::-1]):
        if named:
            which = [Evidence(TELLING, f"{size.name!r} and {offset.name!r} are size and offset by their names")]
        else:
            which = [Evidence(SLIGHT, f"{size.name!r} is the size, as it comes first")] if size is pairs[0] else []
        for order in _ORDERS if points else _ORDERS[::-1]:
            usual = order == ("yx" if points else "xy")
            evidence = [*found, *which, *([Evidence(SLIGHT, f"{order} is {convention}'s order")] if usual else [])]
            yield _reading(heat, size, offset, points, stride, order, evidence, sighting)


def _reading(
    heat: Seen,
    size: Seen,
    offset: Seen,
    points: list[Seen],
    stride: int,
    order: Literal["xy", "yx"],
    evidence: list[Evidence],
    sighting: Sighting,
) -> Proposal:
    convention = "CenterFace" if points else "CenterNet"
    log = size.first.min() < 0 or (points and size.first.max() < _LARGEST_LOG)
    decoder = CenterHeatmap(
        kind="center_heatmap",
        heatmap=heat.name,
        size=size.name,
        offset=offset.name,
        landmarks=points[0].name if points else None,
        stride=stride,
        center_shift=0.5 if points else 0.0,
        size_encoding="log" if log else "linear",
        axis_order=order,
        peak_kernel=1 if points else 3,
    )
    words = f"sizes are {'logarithms' if log else 'cells'} ({span(size.first)})"
    unsure = doubt(
        f"the order of x and y, which map is the size, and where a cell's centre lies are as in {convention}: "
        "only an image can show it",
        "decoder_field:axis_order",
        "decoder_field:size",
        "decoder_field:center_shift",
        image_shows=True,
    )
    feed, doubts = feed_as(convention, sighting)
    return Proposal(
        title=f"centre heatmap{' with landmarks' if points else ''}, {order}, {size.name!r} the size",
        head=detection_flags(decoder, score=0.5 if points else 0.3, iou=0.3 if points else 0.5),
        feed=feed,
        evidence=(*evidence, Evidence(SLIGHT, words)),
        doubts=(unsure, *doubts),
        num_classes=heat.shape[0],
    )


def _named(pairs: list[Seen]) -> tuple[Seen, Seen] | None:
    """The size and the offset where their names tell them apart."""
    for size, offset in ((pairs[0], pairs[1]), (pairs[1], pairs[0])):
        if any(word in size.name.lower() for word in _SIZE_NAMES) or any(
            word in offset.name.lower() for word in _OFFSET_NAMES
        ):
            return size, offset
    return None
