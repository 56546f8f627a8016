"""Whether two embeddings are of one person (1:1), and of whom of many (1:K), where "nobody" is an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.distances import cosine_similarity
from pipelines.types import AnyArray


@dataclass(frozen=True)
class Match:
    """One person of a gallery and the best cosine of any of their vectors with the probe."""

    person: str
    score: float


@dataclass(frozen=True)
class Identification:
    """Who a probe may be.

    Attributes:
        candidates: the best persons, best first; of equal scores the one who comes first in the gallery.
        threshold: least cosine that counts as the same person.
    """

    candidates: tuple[Match, ...]
    threshold: float

    @property
    def person(self) -> str | None:
        """The best candidate where their score reaches the threshold, else ``None``: nobody of the gallery."""
        best = self.candidates[:1]
        return best[0].person if best and best[0].score >= self.threshold else None


def verify(a: AnyArray, b: AnyArray, *, threshold: float) -> tuple[bool, float]:
    """Whether two ``(D,)`` embeddings are of one person, and their cosine: the same at ``threshold`` or more.

    Raises ValueError where the threshold is no cosine, a vector is zero or not finite, or the lengths differ.
    """
    _check_threshold(threshold)
    score = float(cosine_similarity(np.atleast_2d(a), np.atleast_2d(b))[0, 0])
    return score >= threshold, score


def identify(
    probes: AnyArray, gallery: AnyArray, people: Sequence[str], *, threshold: float, top_k: int
) -> list[Identification]:
    """Search each probe in a gallery, exactly, with an open set: a probe below the threshold is nobody.

    Args:
        probes: ``(N, D)``.
        gallery: ``(M, D)``; a person may have several rows, and counts by the best of them.
        people: ``M`` names, of each row's person.
        threshold: least cosine that counts as the same person.
        top_k: most candidates a probe, 1 or more.

    Raises:
        ValueError: shapes or numbers do not fit, the threshold is no cosine, or as ``cosine_similarity``.
    """
    _check_threshold(threshold)
    if top_k < 1:
        raise ValueError(f"top_k must be 1 or more, got {top_k}")
    if len(people) != len(gallery):
        raise ValueError(f"people must be {len(gallery)}, one a row of the gallery, got {len(people)}")
    names = list(dict.fromkeys(people))
    place = {name: i for i, name in enumerate(names)}
    owner = np.array([place[name] for name in people], np.int64)
    scores = cosine_similarity(probes, gallery)
    best = np.full((len(names), len(probes)), -np.inf)
    np.maximum.at(best, owner, scores.T)
    best = best.T
    order = np.argsort(-best, axis=1, kind="stable")[:, :top_k]
    return [
        Identification(tuple(Match(names[i], float(row[i])) for i in picked.tolist()), threshold)
        for row, picked in zip(best, order, strict=True)
    ]


def _check_threshold(threshold: float) -> None:
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold must be a cosine, -1 to 1, got {threshold}")
