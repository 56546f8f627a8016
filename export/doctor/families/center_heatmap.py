"""Centre maps: a heatmap with size and offset maps beside it, maybe landmarks (CenterNet, CenterFace)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from export.doctor.cells import map_stride
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, span
from pipelines.specs import CenterHeatmap

_OFFSET_NAMES, _SIZE_NAMES = ("off", "reg"), ("size", "wh", "scale", "dim")
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
    size, offset, why = _told_apart(pairs)
    at_peak = size.first[:, *np.unravel_index(int(heat.first[0].argmax()), heat.first.shape[1:])]
    encoding: Literal["log", "linear"] = (
        "log" if size.first.min() < 0 or (points and size.first.max() < _LARGEST_LOG) else "linear"
    )
    faces = bool(points)
    common = [
        Evidence(DISTINCTIVE, f"{heat.name!r} holds probabilities at stride {stride}, with two maps of two channels"),
        Evidence(TELLING if why else SLIGHT, why or f"{size.name!r} is the size, as it comes first"),
        Evidence(
            SLIGHT,
            f"sizes are {'logarithms' if encoding == 'log' else 'cells'} ({span(size.first)}, {at_peak[0]:.2f} at best)",
        ),
    ]
    if faces:
        common.append(Evidence(TELLING, f"{points[0].name!r} holds {points[0].shape[0] // 2} landmarks"))
    orders: tuple[Literal["xy", "yx"], ...] = ("yx", "xy") if faces else ("xy", "yx")
    feed, doubts = feed_as("CenterFace" if faces else "CenterNet", sighting)
    for rank, order in enumerate(orders):
        decoder = CenterHeatmap(
            kind="center_heatmap",
            heatmap=heat.name,
            size=size.name,
            offset=offset.name,
            landmarks=points[0].name if faces else None,
            stride=stride,
            center_shift=0.5 if faces else 0.0,
            size_encoding=encoding,
            axis_order=order,
            peak_kernel=1 if faces else 3,
        )
        usual = [] if rank else [Evidence(SLIGHT, f"{order} is the order of {'CenterFace' if faces else 'CenterNet'}")]
        unsure = doubt(
            "the order of x and y, what is size and what offset, and where a cell's centre lies are as in "
            f"{'CenterFace' if faces else 'CenterNet'}: only an image can show it",
            "decoder_field:axis_order",
            "decoder_field:size",
            "decoder_field:center_shift",
            image_shows=True,
        )
        yield Proposal(
            title=f"centre heatmap{' with landmarks' if faces else ''}, {order}",
            head=detection_flags(decoder, score=0.5 if faces else 0.3, iou=0.3 if faces else 0.5),
            feed=feed,
            evidence=(*common, *usual),
            doubts=(unsure, *doubts),
            num_classes=heat.shape[0],
        )


def _told_apart(pairs: list[Seen]) -> tuple[Seen, Seen, str]:
    """The size, the offset, and by what they were told apart."""
    for size, offset in (pairs, pairs[::-1]):
        if any(word in size.name.lower() for word in _SIZE_NAMES) or any(
            word in offset.name.lower() for word in _OFFSET_NAMES
        ):
            return size, offset, f"{size.name!r} and {offset.name!r} are the size and the offset by their names"
    return pairs[0], pairs[1], ""
