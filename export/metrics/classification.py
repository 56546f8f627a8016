"""Metrics of classification: top-k accuracy, confusion matrix, precision, recall, F1, calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.metrics.calibration import Reliability, reliability
from pipelines.types import AnyArray


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassificationReport:
    """How ``N`` images of ``C`` classes were named.

    Precision, recall and F1 are 0 where they are undefined (a class that was never answered, or has no image), as
    scikit-learn has them by default; macro is the plain mean over the classes that have an image or were answered.

    Attributes:
        top1: part of the images whose best class is right.
        top5: part whose five best hold the right one; equal to ``top1`` where one class was answered each.
        confusion: ``(C, C + 1)`` int64 images by true and answered class; the last column counts answers that are
            none of the ``C``.
        precision: ``(C,)`` float64.
        recall: ``(C,)`` float64.
        f1: ``(C,)`` float64.
        reliability: of the best class's score, or ``None`` where scores are no probabilities.
    """

    top1: float
    top5: float
    confusion: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    reliability: Reliability | None

    @property
    def micro(self) -> tuple[float, float, float]:
        """Precision, recall and F1 over all images; equal to ``top1`` unless an answer is none of the classes."""
        hits, answered = np.trace(self.confusion), self.confusion[:, :-1].sum()
        return tuple(map(float, _scores(hits, answered, self.confusion.sum())))  # type: ignore[return-value]

    def headline(self) -> dict[str, float]:
        """The metrics by name, as ``provenance.metrics`` of a manifest has them."""
        micro = self.micro
        occurs = (self.confusion[:, :-1].sum(axis=0) + self.confusion.sum(axis=1)) > 0
        found = {
            "top1": self.top1,
            "top5": self.top5,
            "precision_macro": float(self.precision[occurs].mean()),
            "recall_macro": float(self.recall[occurs].mean()),
            "f1_macro": float(self.f1[occurs].mean()),
            "precision_micro": micro[0],
            "recall_micro": micro[1],
            "f1_micro": micro[2],
        }
        return found | ({"ece": self.reliability.expected_error} if self.reliability else {})


def classification_report(
    truth: AnyArray, ranked: AnyArray, scores: AnyArray, num_classes: int
) -> ClassificationReport:
    """Compare answers with the truth.

    Args:
        truth: ``(N,)`` class ids, N at least 1.
        ranked: ``(N, K)`` answered class ids, best first; a value outside ``0..C-1`` is none of the classes.
        scores: ``(N, K)`` their scores.
        num_classes: C.

    Raises:
        ValueError: shapes differ, or there is no image.
    """
    truth, ranked, scores = np.asarray(truth), np.asarray(ranked), np.asarray(scores)
    if len(truth) == 0 or ranked.ndim != 2 or len(ranked) != len(truth) or scores.shape != ranked.shape:
        raise ValueError(f"answers must be (N, K) for N > 0 images, got {ranked.shape} for {truth.shape}")
    best = ranked[:, 0]
    columns = np.where((best >= 0) & (best < num_classes), best, num_classes)
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    np.add.at(confusion, (truth, columns), 1)
    hits, answered, wanted = np.diagonal(confusion), confusion[:, :-1].sum(axis=0), confusion.sum(axis=1)
    precision, recall, f1 = _scores(hits, answered, wanted)
    sure = scores[:, 0]
    probable = bool(np.isfinite(sure).all() and sure.min() >= 0 and sure.max() <= 1 + 1e-6)
    return ClassificationReport(
        top1=float(np.mean(best == truth)),
        top5=float(np.mean((ranked[:, :5] == truth[:, None]).any(axis=1))),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        reliability=reliability(sure, best == truth) if probable else None,
    )


def rank(scores: AnyArray, *, top_k: int = 5) -> tuple[NDArray[np.int64], AnyArray]:
    """The ``K`` best classes of ``(N, C)`` scores and their scores, best first, the lower class id on a tie."""
    order = np.argsort(-np.asarray(scores), axis=1, kind="stable")[:, :top_k]
    return order, np.take_along_axis(np.asarray(scores), order, axis=1)


def _scores(hits: AnyArray, answered: AnyArray, wanted: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Precision, recall and F1 of counts; 0 where undefined."""
    hits, answered, wanted = (np.asarray(counts, np.float64) for counts in (hits, answered, wanted))
    precision, recall = hits / np.maximum(answered, 1), hits / np.maximum(wanted, 1)
    return precision, recall, 2 * hits / np.maximum(answered + wanted, 1)
