"""Whether a classifier that is 80 % sure is right 80 % of the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.types import AnyArray

NUM_BINS = 15


@dataclass(frozen=True, eq=False)
class Reliability:
    """Samples by confidence, in bins of equal width over 0..1.

    Attributes:
        edges: ``(B + 1,)`` float64; bin ``b`` holds ``edges[b] < confidence <= edges[b + 1]``, the first also 0.
        counts: ``(B,)`` int64 samples.
        confidence: ``(B,)`` float64 mean confidence; NaN in an empty bin.
        accuracy: ``(B,)`` float64 part that is right; NaN in an empty bin.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def expected_error(self) -> float:
        """Expected calibration error: the mean gap of confidence and accuracy, by samples (arXiv:1706.04599, eq. 3)."""
        filled = self.counts > 0
        gaps = np.abs(self.confidence - self.accuracy)[filled]
        return float(np.sum(gaps * self.counts[filled]) / max(1, self.counts.sum()))


def reliability(confidence: AnyArray, right: AnyArray, *, num_bins: int = NUM_BINS) -> Reliability:
    """Sort samples into bins.

    Args:
        confidence: ``(N,)`` probabilities of the answers given.
        right: ``(N,)`` bool.
        num_bins: of equal width.

    Raises:
        ValueError: a confidence is no probability.
    """
    sure = np.asarray(confidence, np.float64)
    if sure.size and not (np.isfinite(sure).all() and sure.min() >= 0 and sure.max() <= 1 + 1e-6):
        raise ValueError(f"confidences must be between 0 and 1, got {sure.min()} to {sure.max()}")
    edges = np.linspace(0, 1, num_bins + 1)
    bins = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, weights=values, minlength=num_bins) for values in (sure, np.asarray(right, np.float64))]
    with np.errstate(invalid="ignore"):
        means = [total / counts for total in sums]  # NaN where a bin is empty
    return Reliability(edges, counts.astype(np.int64), means[0], means[1])
