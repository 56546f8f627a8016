"""Final detections in rows: YOLOv10, exports with suppression in the graph, joined whole detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Doubt, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_corners, are_probabilities, are_sorted, are_whole, span
from export.foreign.whole_detector import JOINED
from pipelines.specs import EndToEnd

_COLUMNS = 6
_NORMALIZED_MOST = 2.0  # a box may leave its row by less than its own size; pixels of any object are far above.

_COCO = (80, 91)  # classes, and numbers with the gaps that its first edition left.


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(M, 6)`` whose column 4 is a probability and whose column 5 is a whole number."""
    for seen in sighting.of_rank(2):
        if seen.shape[1] != _COLUMNS:
            continue
        filled = [value for value in seen.values if len(value)]
        if all(are_whole(rows[:, 5]) and are_probabilities(rows[:, 4]) for rows in filled):
            yield _rows(seen, sighting)


def _rows(seen: Seen, sighting: Sighting) -> Proposal:
    rows = max(seen.values, key=len)
    corners = are_corners(rows[:, :4])
    unit: Literal["normalized", "pixel"] = (
        "normalized" if len(rows) and abs(rows[:, :4]).max() <= _NORMALIZED_MOST else "pixel"
    )
    joined = seen.name == JOINED
    evidence = [Evidence(DISTINCTIVE, f"{seen.name!r} has six columns a line, {len(rows)} lines")]
    if len(rows):
        evidence += [
            Evidence(DISTINCTIVE, f"column 5 holds whole numbers ({span(rows[:, 5])}), column 4 probabilities"),
            Evidence(TELLING, "columns 0 to 3 are corners: the second is never before the first")
            if corners
            else Evidence(-DISTINCTIVE, "columns 0 to 3 are no corners: a second lies before its first"),
            Evidence(SLIGHT, f"corners are in {'fractions of the row' if unit == 'normalized' else 'pixels'}"),
        ]
    if seen.always(lambda value: are_sorted(value[:, 4])):
        evidence.append(Evidence(TELLING, "lines are sorted by column 4"))
    feed, doubts = feed_as("torchvision's whole detectors" if joined else "Ultralytics", sighting)
    num_classes, unsure = _classes(seen, sighting)
    decoder = EndToEnd(kind="end_to_end", output=seen.name, unit=unit, num_classes=num_classes)
    return Proposal(
        title="boxes, scores and labels of a whole detector" if joined else "final detections (end to end)",
        head=detection_flags(decoder, score=0.25, iou=None),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=sighting.num_labels,
    )


def _classes(seen: Seen, sighting: Sighting) -> tuple[int, tuple[Doubt, ...]]:
    if sighting.num_labels is not None:
        return sighting.num_labels, ()
    most = max((int(rows[:, 5].max()) for rows in seen.values if len(rows)), default=0)
    assumed = next((count for count in _COCO if count > most), most + 1)
    text = (
        f"how many classes there are is not in the outputs ({most} is the largest number seen): {assumed} are assumed"
    )
    return assumed, (doubt(text, ("labels", "label", "decoder_field:num_classes")),)
