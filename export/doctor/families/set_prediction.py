"""A fixed set of queries: DETR and its descendants."""

from __future__ import annotations

from collections.abc import Iterator

from export.doctor.cells import cell_layouts
from export.doctor.families.tables import tables
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Doubt, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, span, sum_to_one
from pipelines.activations import softmax
from pipelines.specs import SetPrediction

_QUERIES = (100, 300, 900)
_MOSTLY = 0.5


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(Q, C)`` and ``(Q, 4)`` in 0..1."""
    for table in tables(sighting):
        boxes = table.only(4)
        if boxes is None or not boxes.always(are_probabilities):
            continue
        others = table.classes(boxes)
        if len(others) != 1:
            continue
        common = [Evidence(DISTINCTIVE, f"{boxes.name!r} holds four fractions a line ({span(boxes.first)})")]
        if table.lines in _QUERIES:
            common.append(Evidence(TELLING, f"{table.lines} queries are a published number"))
        elif cell_layouts(table.lines, sighting.row_hw):
            common.append(Evidence(-SLIGHT, f"{table.lines} lines could be cells of a grid"))
        yield _detr(others[0], boxes, common, sighting)
        yield _rt_detr(others[0], boxes, common, sighting)


def _detr(classes: Seen, boxes: Seen, common: list[Evidence], sighting: Sighting) -> Proposal:
    applied = classes.always(lambda value: sum_to_one(value, axis=1))
    nothing = (classes.first if applied else softmax(classes.first, axis=1))[:, -1]
    evidence, unsure = [*common], _unsure(classes, sighting, extra=1)
    if applied:
        evidence.append(Evidence(DISTINCTIVE, f"{classes.name!r} sums to 1 along its columns"))
    if float(nothing.mean()) > _MOSTLY:
        text = f"most queries choose the last column ({nothing.mean():.0%} on average): no object"
        evidence.append(Evidence(TELLING, text))
    decoder = SetPrediction(
        kind="set_prediction",
        classes=classes.name,
        boxes=boxes.name,
        class_activation="none" if applied else "softmax",
        background="last",
        per="query",
        top_k=None,
    )
    return _proposal(
        "DETR: softmax with no object last", decoder, evidence, unsure, classes.shape[1] - 1, "DETR", sighting
    )


def _rt_detr(classes: Seen, boxes: Seen, common: list[Evidence], sighting: Sighting) -> Proposal:
    applied = classes.always(are_probabilities)
    evidence, unsure = [*common], _unsure(classes, sighting, extra=0)
    if classes.always(lambda value: sum_to_one(value, axis=1)):
        evidence.append(Evidence(-DISTINCTIVE, f"{classes.name!r} sums to 1 along its columns"))
    elif applied:
        evidence.append(Evidence(DISTINCTIVE, f"{classes.name!r} holds probabilities that do not sum to 1"))
    decoder = SetPrediction(
        kind="set_prediction",
        classes=classes.name,
        boxes=boxes.name,
        class_activation="none" if applied else "sigmoid",
        background="none",
        per="query_class",
        top_k=min(300, classes.shape[0]),
    )
    title = "RT-DETR, Deformable DETR: a sigmoid each"
    return _proposal(title, decoder, evidence, unsure, classes.shape[1], "RT-DETR", sighting)


def _unsure(classes: Seen, sighting: Sighting, *, extra: int) -> tuple[Doubt, ...]:
    if sighting.num_labels is not None:
        return ()
    with_or_without = (
        f"{classes.shape[1]} columns are {classes.shape[1] - extra} classes{' and no object' if extra else ''}"
    )
    return (doubt(f"{with_or_without}: not in the outputs", ("labels", "label", "decoder_field:background")),)


def _proposal(
    title: str,
    decoder: SetPrediction,
    evidence: list[Evidence],
    unsure: tuple[Doubt, ...],
    num_classes: int,
    convention: str,
    sighting: Sighting,
) -> Proposal:
    feed, doubts = feed_as(convention, sighting)
    return Proposal(
        title=title,
        head=detection_flags(decoder, score=0.5, iou=None),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=num_classes,
    )
