"""Outputs that are known but that no head reads: named, so that nobody looks for a decoder that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from export.doctor.sighting import Sighting
from export.doctor.statistics import are_whole

_MOBILENET_SSD = 1917  # 19² x 3 + (10² + 5² + 3² + 2² + 1) x 6 at 300 px.


def notices(sighting: Sighting) -> Iterator[str]:
    """One sentence for each output that was recognised and cannot be read, with a way out where there is one."""
    for seen in sighting.whole:
        if seen.rank >= 2:
            yield (
                f"{seen.name!r} holds a whole number for each pixel: the winning class alone; a head needs the scores "
                "before the ArgMax"
            )
    for seen in sighting.of_rank(2):
        count, columns = seen.shape
        if columns == 7 and seen.always(lambda value: are_whole(value[:, :1])):
            yield (
                f"{seen.name!r} has seven columns a line, as exports with EfficientNMS-like ends have: export without "
                "suppression in the graph"
            )
        if count == _MOBILENET_SSD:
            yield (
                f"{seen.name!r} has 1917 lines, the default boxes of the first MobileNet SSD, whose first level has "
                "three boxes of its own that no decoder here makes"
            )
