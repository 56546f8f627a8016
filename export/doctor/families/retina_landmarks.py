"""Faces with five points, a line an anchor: RetinaFace and SCRFD."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from export.doctor.cells import CellLayout, cell_layouts
from export.doctor.families.tables import are_distances
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, span, sum_to_one
from pipelines.specs import FaceDistances, FacePriors, PriorLevel, RetinaLandmarks
from pipelines.specs.anchors import Background, ClassActivation

_POINTS = 10


@dataclass(frozen=True, eq=False)
class _Faces:
    """Outputs of all feature maps together, or one of each."""

    classes: Sequence[Seen]
    boxes: Sequence[Seen]
    landmarks: Sequence[Seen]
    layout: CellLayout


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs of 4 and 10 columns with 1 or 2 for the classes, over the lines of one or of several grids."""
    by_columns: dict[int, list[Seen]] = defaultdict(list)
    for seen in sighting.of_rank(2):
        by_columns[seen.shape[1]].append(seen)
    for columns in (1, 2):
        groups = [sorted(by_columns[count], key=lambda seen: -seen.shape[0]) for count in (columns, 4, _POINTS)]
        lines = [[seen.shape[0] for seen in group] for group in groups]
        if not lines[0] or lines[0] != lines[1] or lines[0] != lines[2]:
            continue
        for layout in cell_layouts(sum(lines[0]), sighting.row_hw)[:1]:
            if len(lines[0]) in (1, len(layout.strides)):
                yield from _readings(_Faces(groups[0], groups[1], groups[2], layout), sighting)


def _readings(faces: _Faces, sighting: Sighting) -> Iterator[Proposal]:
    activation, background, why = _coding(faces.classes)
    distances = all(are_distances(seen) for seen in faces.boxes)
    common = [
        Evidence(DISTINCTIVE, f"four, ten and {faces.classes[0].shape[1]} columns: boxes, five points, face or not"),
        Evidence(TELLING, f"{faces.layout}"),
        Evidence(TELLING if activation == "none" else SLIGHT, why),
    ]
    if faces.layout.per_cell == 1:
        common.append(Evidence(-TELLING, "one line a cell, where RetinaFace and SCRFD have two"))
    for form in ("distances", "priors"):
        fits = distances == (form == "distances")
        evidence = [
            *common,
            Evidence(
                TELLING if fits else -TELLING,
                f"boxes are {'never' if distances else 'also'} below 0 ({span(faces.boxes[0].first)})",
            ),
        ]
        yield _proposal(form, faces, evidence, activation, background, sighting)


def _coding(classes: Sequence[Seen]) -> tuple[ClassActivation, Background, str]:
    two = classes[0].shape[1] == 2
    if two and all(seen.always(lambda value: sum_to_one(value, axis=1)) for seen in classes):
        return "none", "first", "class columns sum to 1: a softmax was applied"
    if not two and all(seen.always(are_probabilities) for seen in classes):
        return "none", "none", "the class column holds probabilities"
    if two:
        return "softmax", "first", "two columns of logits: background and face"
    return "sigmoid", "none", "one column of logits"


def _proposal(
    form: str,
    faces: _Faces,
    evidence: list[Evidence],
    activation: ClassActivation,
    background: Background,
    sighting: Sighting,
) -> Proposal:
    layout = faces.layout
    coding: FaceDistances | FacePriors
    if form == "distances":
        coding = FaceDistances(form="distances", strides=layout.strides, anchors_per_cell=layout.per_cell)
        unsure = doubt("anchors lie at their cells' corners, as in SCRFD", "decoder_field:center_shift")
    else:
        levels = tuple(
            # RetinaFace's: 16 and 32 at stride 8, 64 and 128 at 16, 256 and 512 at 32.
            PriorLevel(stride=stride, min_sizes=tuple(stride * 2.0 ** (1 + i + level) for i in range(layout.per_cell)))
            for level, stride in enumerate(layout.strides)
        )
        coding = FacePriors(form="priors", levels=levels, variances=(0.1, 0.2))
        unsure = doubt(
            "the priors' sizes and variances are not in the outputs: RetinaFace's are assumed", "decoder_field:coding"
        )
    decoder = RetinaLandmarks(
        kind="retina_landmarks",
        classes=tuple(seen.name for seen in faces.classes),
        boxes=tuple(seen.name for seen in faces.boxes),
        landmarks=tuple(seen.name for seen in faces.landmarks),
        coding=coding,
        center_shift=0.0 if form == "distances" else 0.5,
        class_activation=activation,
        background=background,
    )
    name = "SCRFD" if form == "distances" else "RetinaFace"
    feed, doubts = feed_as(name, sighting)
    return Proposal(
        title=f"faces with points, {form}: {name}",
        head=detection_flags(decoder, score=0.5, iou=0.4),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(unsure, *doubts),
        num_classes=1,
    )
