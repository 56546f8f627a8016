"""What the summary counts of a result: its classes, each with the decile of its score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

BINS = 10
Facts = list[tuple[str, int]]
NO_SCORE = -1


def facts_of(result: Mapping[str, Any]) -> Facts:
    """``(label, bin)`` of each object, of an image's best class, or of each class of a map (bin -1: it has no score).

    ``result`` is the JSON of ``pipelines.present.to_json``.
    """
    objects = result.get("detections", result.get("objects"))  # an object of a cascade counts as what was found
    if objects is not None:
        return [(_label(found), _bin(found["score"])) for found in objects]
    classes = result.get("classes", [])
    if classes and "score" in classes[0]:
        return [(_label(classes[0]), _bin(classes[0]["score"]))]
    return [(_label(found), NO_SCORE) for found in classes]


class FactCounts:
    """Counts of many images' facts."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int]] = Counter()

    def add(self, facts: Facts) -> None:
        """Count one image's."""
        self._counts.update((label, place) for label, place in facts)

    def by_class(self) -> dict[str, int]:
        """How often each class came, most often first."""
        totals: Counter[str] = Counter()
        for (label, _), count in self._counts.items():
            totals[label] += count
        return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))

    def by_score(self) -> list[int]:
        """Counts by decile of the score, lowest first; those without a score are left out."""
        totals = [0] * BINS
        for (_, place), count in self._counts.items():
            if place != NO_SCORE:
                totals[place] += count
        return totals


def _label(found: Mapping[str, Any]) -> str:
    return str(found.get("label", f"class {found['class_id']}"))


def _bin(score: float) -> int:
    return min(BINS - 1, max(0, int(score * BINS)))  # logits and log-probabilities lie outside: at the ends
