"""Maps over the row: segmentation, and text as a probability map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from export.doctor.cells import map_stride
from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Doubt, Evidence, Proposal, detection_flags, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_probabilities, span, sum_to_one
from pipelines.specs import ProbabilityMap

_U2NET_OUTPUTS = 7
_FULL = 1
_BINARY = 0.3  # what DB's post-processing counts as text.
_MOST_TEXT = 0.35  # a densely printed page covers about a quarter with its lines.


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(C, h, w)`` at the row's aspect; of several like them the first, or ``out`` beside ``aux``."""
    maps = [seen for seen in sighting.of_rank(3) if _stride(seen, sighting) is not None]
    for seen in maps:
        alike = [other for other in maps if other.shape[0] == seen.shape[0] and other is not seen]
        named_out = [other for other in (seen, *alike) if other.name == "out"]
        if alike and seen is not (
            named_out[0] if named_out else next(one for one in maps if one.shape[0] == seen.shape[0])
        ):
            continue
        if seen.shape[0] == 1:
            yield from _one_map(seen, alike, maps, sighting)
        else:
            yield from _many_maps(seen, alike, maps, sighting)


def _stride(seen: Seen, sighting: Sighting) -> int | None:
    _, height, width = seen.shape
    return map_stride((height, width), sighting.row_hw)


def _place(seen: Seen, maps: list[Seen], sighting: Sighting) -> list[Evidence]:
    """How well a map suits pixels, whatever it holds."""
    stride = _stride(seen, sighting)
    found = [Evidence(TELLING if stride == _FULL else SLIGHT, f"{seen.name!r} covers the row at stride {stride}")]
    if any(other.shape[0] != seen.shape[0] for other in maps):
        found.append(Evidence(-TELLING, "other maps with other channels stand beside it"))
    if stride is not None and stride >= 16:
        found.append(Evidence(-TELLING, "that is coarse for pixels"))
    return found


def _one_map(seen: Seen, alike: list[Seen], maps: list[Seen], sighting: Sighting) -> Iterator[Proposal]:
    common = _place(seen, maps, sighting)
    u2net = len(alike) + 1 == _U2NET_OUTPUTS
    if not seen.always(are_probabilities):
        evidence = [*common, Evidence(SLIGHT, f"one channel of logits ({span(seen.first)})")]
        yield _segmentation(seen, "sigmoid", evidence, "torchvision's segmenters", (), sighting)
        return
    common.append(Evidence(TELLING, f"one channel of probabilities ({span(seen.first)})"))
    if _stride(seen, sighting) == _FULL and not alike:
        yield _text(seen, common, sighting)
    stretched = [*common, Evidence(TELLING, "seven such maps, the first fused, as U2-Net has")] if u2net else common
    choice = (
        "whether probabilities are stretched to 0..1 by their own extremes, as U2-Net's tools do, is not in the file"
    )
    unsure = (doubt(choice, "activation"),)
    yield _segmentation(seen, "minmax", stretched, "U2-Net", unsure, sighting)
    yield _segmentation(seen, "none", common, "torchvision's segmenters", unsure, sighting)


def _text(seen: Seen, common: list[Evidence], sighting: Sighting) -> Proposal:
    evidence = [*common]
    if not sighting.fixed_hw:
        evidence.append(Evidence(SLIGHT, "rows of any size, as text detectors take them"))
    covered = float((seen.first > _BINARY).mean())
    if covered > _MOST_TEXT:
        evidence.append(Evidence(-TELLING, f"{covered:.0%} of the row are above {_BINARY}, which text does not cover"))
    if "paddle" in sighting.producer.lower() or ".tmp_" in seen.name:
        evidence.append(Evidence(TELLING, f"the name {seen.name!r} is PaddlePaddle's, whose text detectors answer so"))
    decoder = ProbabilityMap(
        kind="probability_map",
        output=seen.name,
        binarize_threshold=_BINARY,
        dilate=True,
        unclip_ratio=1.6,
        min_side=3,
        max_candidates=1000,
    )
    feed, doubts = feed_as("PP-OCR", sighting)
    return Proposal(
        title="text as a probability map (DB)",
        head=detection_flags(decoder, score=0.5, iou=None, most=1000),
        feed=feed,
        evidence=tuple(evidence),
        doubts=(doubt("regions of text and a mask look alike as numbers", "decoder"), *doubts),
        num_classes=1,
    )


def _many_maps(seen: Seen, alike: list[Seen], maps: list[Seen], sighting: Sighting) -> Iterator[Proposal]:
    evidence = _place(seen, maps, sighting)
    evidence.append(Evidence(SLIGHT, f"{seen.shape[0]} channels, a class each"))
    if seen.always(lambda value: sum_to_one(value, axis=0)):
        text = "channels sum to 1: a softmax was applied, and a second one keeps each pixel's winner"
        evidence.append(Evidence(DISTINCTIVE, text))
    if seen.name == "out":
        beside = f" beside {alike[0].name!r}, the head of its training" if alike else ""
        evidence.append(Evidence(DISTINCTIVE, f"'out'{beside} is how torchvision's segmenters answer"))
    elif alike:
        evidence.append(Evidence(-TELLING, f"{len(alike)} more maps of {seen.shape[0]} channels stand beside it"))
    yield _segmentation(seen, "softmax", evidence, "torchvision's segmenters", (), sighting)


def _segmentation(
    seen: Seen,
    activation: str,
    evidence: list[Evidence],
    convention: str,
    unsure: tuple[Doubt, ...],
    sighting: Sighting,
) -> Proposal:
    feed, doubts = feed_as(convention, sighting)
    head: dict[str, Any] = {"task": "segmentation", "output": seen.name, "activation": activation}
    return Proposal(
        title=f"segmentation, {activation}" if activation != "none" else "segmentation, probabilities as they are",
        head=head,
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=seen.shape[0] + (activation != "softmax"),
    )
