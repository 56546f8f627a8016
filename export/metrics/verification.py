"""Metrics of embeddings that tell people apart: ROC, AUC, EER and TAR at FAR over all pairs of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.metrics.intervals import wilson
from pipelines.types import AnyArray, FloatArray
from pipelines.verification import Pairs, Roc, all_pairs, curve_of_sorted, roc_curve

DEFAULT_FARS = (1e-1, 1e-2, 1e-3)
NUM_RESAMPLES = 200
MAX_BOOTSTRAP_PAIRS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class TarAtFar:
    """One working point.

    Attributes:
        far: the false accept rate that may not be passed.
        tar: the true accept rate there.
        threshold: of the cosine.
        wilson: 95 % interval of ``tar`` as if pairs were independent: too narrow, since people share pairs.
        bootstrap: 95 % interval over resampled people, or ``None`` above ``MAX_BOOTSTRAP_PAIRS``.
        resolved: whether there are enough impostor pairs for this rate: at least 1 / ``far``.
    """

    far: float
    tar: float
    threshold: float
    wilson: tuple[float, float]
    bootstrap: tuple[float, float] | None
    resolved: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class VerificationReport:
    """How well one threshold tells people apart.

    Attributes:
        pairs: all of them.
        roc: the curve.
        points: TAR at each FAR asked for.
        auc_bootstrap: 95 % interval of the area over resampled people, or ``None``.
    """

    pairs: Pairs
    roc: Roc
    points: tuple[TarAtFar, ...]
    auc_bootstrap: tuple[float, float] | None

    def headline(self) -> dict[str, float]:
        """The metrics by name; a rate that the pairs cannot resolve is left out."""
        rates = {
            f"tar_at_far_{point.far:.0e}".replace("e-0", "e-"): point.tar for point in self.points if point.resolved
        }
        return {"auc": self.roc.auc, "eer": self.roc.eer, **rates}


def verification_report(
    vectors: FloatArray, identities: AnyArray, *, fars: Sequence[float] = DEFAULT_FARS, seed: int = 0
) -> VerificationReport:
    """Compare every image with every other.

    Args:
        vectors: ``(N, D)`` embeddings, of any length above 0.
        identities: ``(N,)`` whom each shows.
        fars: false accept rates to report.
        seed: of the bootstrap.

    Raises:
        ValueError: no two images of one person, or no two people.
    """
    pairs = all_pairs(vectors, identities)
    roc = roc_curve(pairs.scores, pairs.genuine)
    resampled = _bootstrap(pairs, fars, seed=seed) if len(pairs.scores) <= MAX_BOOTSTRAP_PAIRS else None
    num_genuine = int(pairs.genuine.sum())
    points = []
    for i, far in enumerate(fars):
        tar, threshold = roc.at_far(far)
        points.append(
            TarAtFar(
                far=far,
                tar=tar,
                threshold=threshold,
                wilson=wilson(round(tar * num_genuine), num_genuine),
                bootstrap=None if resampled is None else _interval(resampled[:, i]),
                resolved=(len(pairs.scores) - num_genuine) * far >= 1,
            )
        )
    area = None if resampled is None else _interval(resampled[:, -1])
    return VerificationReport(pairs=pairs, roc=roc, points=tuple(points), auc_bootstrap=area)


def _bootstrap(pairs: Pairs, fars: Sequence[float], *, seed: int) -> NDArray[np.float64]:
    """TAR at each FAR, then AUC, of ``NUM_RESAMPLES`` draws of people with replacement: ``(R, F + 1)``.

    People and not pairs are drawn, since the pairs of a person stand and fall together. A pair counts as often as its
    two people were drawn, a genuine one as often as its person; draws without both kinds are left out.
    """
    order = np.argsort(-pairs.scores, kind="stable")
    scores, genuine = pairs.scores[order], pairs.genuine[order]
    known, places = np.unique(pairs.people[order], return_inverse=True)
    first, second = places.reshape(-1, 2).T
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(NUM_RESAMPLES):
        drawn = np.bincount(generator.integers(0, len(known), len(known)), minlength=len(known))
        weights = np.where(genuine, drawn[first], drawn[first] * drawn[second]).astype(np.float64)
        if weights[genuine].any() and weights[~genuine].any():
            curve = curve_of_sorted(scores, genuine, weights)
            rows.append([*(curve.at_far(far)[0] for far in fars), curve.auc])
    return np.array(rows)


def _interval(values: AnyArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
