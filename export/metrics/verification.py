"""Metrics of embeddings that tell people apart: ROC, AUC, EER and TAR at FAR over all pairs of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.metrics.intervals import wilson
from pipelines.types import AnyArray, FloatArray

DEFAULT_FARS = (1e-1, 1e-2, 1e-3)
NUM_RESAMPLES = 200
MAX_BOOTSTRAP_PAIRS = 2_000_000


@dataclass(frozen=True, eq=False)
class Pairs:
    """Every pair of ``N`` images, once.

    Attributes:
        scores: ``(P,)`` float64 cosine.
        genuine: ``(P,)`` bool: one person.
        people: ``(P, 2)`` int64 identities of the two images.
        images: ``(P, 2)`` int64 their indices.
    """

    scores: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    people: NDArray[np.int64]
    images: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Roc:
    """Accepting a pair whose score is at or above a threshold.

    Attributes:
        thresholds: ``(T,)`` float64, descending; the first accepts nothing.
        far: ``(T,)`` float64 part of the impostor pairs accepted (false accept rate, FMR).
        tar: ``(T,)`` float64 part of the genuine pairs accepted (true accept rate, 1 - FNMR).
    """

    thresholds: NDArray[np.float64]
    far: NDArray[np.float64]
    tar: NDArray[np.float64]

    @property
    def auc(self) -> float:
        """Area under the curve: the chance that a genuine pair scores above an impostor pair, ties half."""
        return float(np.trapezoid(self.tar, self.far))

    @property
    def eer(self) -> float:
        """The error where false accepts are as frequent as false rejects, between thresholds in a straight line."""
        gap = self.far - (1 - self.tar)  # ascends from -1 to 1
        after = int(np.argmax(gap >= 0))
        before = max(0, after - 1)
        step = gap[after] - gap[before]
        share = -gap[before] / step if step > 0 else 0.0
        return float(self.far[before] + share * (self.far[after] - self.far[before]))

    def at_far(self, far: float) -> tuple[float, float]:
        """The largest TAR whose FAR is at most ``far``, and its threshold."""
        last = int(np.searchsorted(self.far, far, side="right")) - 1
        return float(self.tar[last]), float(self.thresholds[last])


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


def all_pairs(vectors: FloatArray, identities: AnyArray) -> Pairs:
    """The cosine of every pair; raises ValueError without a genuine and an impostor pair, or with a zero vector."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("embeddings must be finite and longer than 0")
    units = vectors / lengths
    left, right = np.triu_indices(len(units), k=1)
    people = np.stack((identities[left], identities[right]), axis=1).astype(np.int64)
    genuine = people[:, 0] == people[:, 1]
    if genuine.all() or not genuine.any():
        raise ValueError("there must be two images of one identity, and two identities")
    return Pairs((units @ units.T)[left, right], genuine, people, np.stack((left, right), axis=1))


def roc_curve(scores: AnyArray, genuine: AnyArray, weights: AnyArray | None = None) -> Roc:
    """Count accepted pairs at each distinct score.

    Args:
        scores: ``(P,)``.
        genuine: ``(P,)`` bool, some of each kind.
        weights: ``(P,)`` how often each pair counts; once without.
    """
    order = np.argsort(-scores, kind="stable")
    return _curve(scores[order], genuine[order], np.ones(len(scores)) if weights is None else weights[order])


def _curve(scores: AnyArray, genuine: AnyArray, weights: AnyArray) -> Roc:
    """The curve of pairs that are sorted by descending score."""
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # of each run of ties: accepted together
    hits = np.cumsum(weights * genuine)[last]
    errors = np.cumsum(weights * ~genuine)[last]
    return Roc(
        thresholds=np.concatenate(([np.inf], scores[last])),
        far=np.concatenate(([0.0], errors / errors[-1])),
        tar=np.concatenate(([0.0], hits / hits[-1])),
    )


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
            curve = _curve(scores, genuine, weights)
            rows.append([*(curve.at_far(far)[0] for far in fars), curve.auc])
    return np.array(rows)


def _interval(values: AnyArray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
