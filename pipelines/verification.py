"""Every pair of images with whether one person is on both, and the ROC curve of accepting them by score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray, FloatArray


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
    return curve_of_sorted(scores[order], genuine[order], np.ones(len(scores)) if weights is None else weights[order])


def curve_of_sorted(scores: AnyArray, genuine: AnyArray, weights: AnyArray) -> Roc:
    """The curve of pairs that are sorted by descending score."""
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # of each run of ties: accepted together
    hits = np.cumsum(weights * genuine)[last]
    errors = np.cumsum(weights * ~genuine)[last]
    return Roc(
        thresholds=np.concatenate(([np.inf], scores[last])),
        far=np.concatenate(([0.0], errors / errors[-1])),
        tar=np.concatenate(([0.0], hits / hits[-1])),
    )
