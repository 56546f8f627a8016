"""One vector a row: classification or embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from export.doctor.feeding import feed_as
from export.doctor.proposal import DISTINCTIVE, SLIGHT, TELLING, Doubt, Evidence, Proposal, doubt
from export.doctor.sighting import Seen, Sighting
from export.doctor.statistics import are_log_probabilities, are_probabilities, span, sum_to_one

_IMAGENET = 1000
_EMBEDDING_DIMS = (64, 128, 192, 256, 384, 512, 768, 1024, 2048)
_CLASS_NAMES, _VECTOR_NAMES = ("logit", "prob", "class", "score", "softmax"), ("embed", "feat", "vector")


def propose(sighting: Sighting) -> Iterator[Proposal]:
    """Outputs ``(D,)``; a singleton map ``(D, 1, 1)`` is none, since no head reads one."""
    for seen in sighting.of_rank(1):
        if seen.shape[0] > 1:
            yield from _classification(seen, sighting)
            yield from _embedding(seen, sighting)


def _classification(seen: Seen, sighting: Sighting) -> Iterator[Proposal]:
    size, name = seen.shape[0], seen.name.lower()
    evidence = []
    if size == _IMAGENET:
        evidence.append(Evidence(DISTINCTIVE, "1000 values: the classes of ImageNet"))
    if any(word in name for word in _CLASS_NAMES):
        evidence.append(Evidence(TELLING, f"the name {seen.name!r}"))
    if seen.always(lambda value: sum_to_one(value, axis=0)):
        evidence.append(Evidence(2 * DISTINCTIVE, f"{seen.name!r} sums to 1: a softmax was applied"))
        yield _classes(seen, "none", "probabilities", evidence, (), sighting)
    elif seen.always(lambda value: are_log_probabilities(value, axis=0)):
        text = f"exponentials of {seen.name!r} sum to 1: a log-softmax was applied"
        yield _classes(seen, "log_softmax", "log-probabilities", [*evidence, Evidence(DISTINCTIVE, text)], (), sighting)
    elif seen.always(are_probabilities):
        text = f"{seen.name!r} holds probabilities that do not sum to 1 ({span(seen.first)})"
        many = {"score_threshold": 0.5}
        yield _classes(seen, "none", "many labels", [*evidence, Evidence(TELLING, text)], (), sighting, more=many)
    else:
        text = f"{seen.name!r} holds logits ({span(seen.first)}, length {float(np.linalg.norm(seen.first)):.2f})"
        logits = [*evidence, Evidence(SLIGHT, text)]
        unsure = (doubt("logits do not show whether one class is right (softmax) or many are (sigmoid)", "activation"),)
        known = size == _IMAGENET or (sighting.said is not None and sighting.said.task == "classification")
        yield _classes(seen, "softmax", "logits", logits, () if known else unsure, sighting)


def _classes(
    seen: Seen,
    activation: str,
    words: str,
    evidence: list[Evidence],
    unsure: tuple[Doubt, ...],
    sighting: Sighting,
    *,
    more: Mapping[str, Any] | None = None,
) -> Proposal:
    feed, doubts = feed_as("torchvision's classifiers", sighting)
    return Proposal(
        title=f"classification, {words}",
        head={"task": "classification", "output": seen.name, "activation": activation, **(more or {})},
        feed=feed,
        evidence=tuple(evidence),
        doubts=(*unsure, *doubts),
        num_classes=seen.shape[0],
    )


def _embedding(seen: Seen, sighting: Sighting) -> Iterator[Proposal]:
    size, name = seen.shape[0], seen.name.lower()
    if seen.always(are_probabilities) or sighting.num_labels is not None:
        return
    evidence = []
    if seen.always(lambda value: abs(float(np.linalg.norm(value)) - 1) < 1e-3):
        evidence.append(Evidence(2 * DISTINCTIVE, f"{seen.name!r} has length 1 for every row: an embedding"))
    if any(word in name for word in _VECTOR_NAMES):
        evidence.append(Evidence(TELLING, f"the name {seen.name!r}"))
    if size in _EMBEDDING_DIMS:
        evidence.append(Evidence(TELLING, f"{size} values are a usual length of embeddings"))
    elif size == _IMAGENET:
        evidence.append(Evidence(-DISTINCTIVE, "1000 values: the classes of ImageNet"))
    evidence.append(Evidence(SLIGHT, f"values on both sides of 0 ({span(seen.first)})"))
    feed, doubts = feed_as("face embedders", sighting)
    yield Proposal(
        title="embedding",
        head={"task": "embedding", "output": seen.name, "embedding_dim": size, "normalize": True},
        feed=feed,
        evidence=tuple(evidence),
        doubts=doubts,
        num_classes=0,
    )
