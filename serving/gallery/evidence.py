"""What a calibration saw, as the gallery keeps it: rates with intervals, the ROC curve, the scores' histograms."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.calibration import Calibration, Measured

CURVE_POINTS = 400
BINS = 60
WEAK_EER = 0.1  # one pair in ten is decided wrongly, of either kind
FEW_PEOPLE = 30  # seen on the ORL set: the interval of five people held for five others one way and not the other
WEAK_FNMR = 0.5  # more than half of the genuine pairs are not called `same`


def evidence_of(measured: Measured) -> dict[str, Any]:
    """A calibration as plain JSON values; it holds no embedding and names nobody."""
    pairs, roc = measured.pairs, measured.roc
    edges = np.linspace(float(pairs.scores.min()), 1.0, BINS + 1)
    chosen = _thin(roc.far, roc.tar)
    return {
        "measured_at_s": time.time(),
        "calibration": asdict(measured.calibration),
        "doubts": doubts_of(measured.calibration),
        "roc": {"far": roc.far[chosen].tolist(), "tar": roc.tar[chosen].tolist()},
        "histogram": {
            "edges": edges.tolist(),
            "genuine": np.histogram(pairs.scores[pairs.genuine], edges)[0].tolist(),
            "impostor": np.histogram(pairs.scores[~pairs.genuine], edges)[0].tolist(),
        },
    }


def doubts_of(found: Calibration) -> list[str]:
    """What a calibration should not be trusted with: a weak embedder, few people.

    The false match rate holds for a weak embedder, too: what it loses are the people whom it does not find.
    """
    doubts = []
    if found.eer > WEAK_EER:
        doubts.append(
            f"the embedder is weak on these people: the equal error rate is {found.eer:.3f}, above {WEAK_EER:g}"
        )
    if found.fnmr.value > WEAK_FNMR:
        share = f"{found.fnmr.value:.0%} of the genuine pairs"
        doubts.append(f"the embedder is weak on these people: {share} are not called same")
    if found.people < FEW_PEOPLE:
        doubts.append(f"{found.people} people say little of others, whatever the intervals: take {FEW_PEOPLE} or more")
    return doubts


def to_text(evidence: dict[str, Any]) -> str:
    """The JSON that the store keeps."""
    return json.dumps(evidence, allow_nan=False)


def _thin(far: NDArray[np.float64], tar: NDArray[np.float64]) -> NDArray[np.int64]:
    """Points that are spread along the curve, by the logarithm of its rate and by its height; the ends stay."""
    along = np.cumsum(np.abs(np.diff(np.log10(np.maximum(far, 1e-6)), prepend=-6.0)) / 6 + np.diff(tar, prepend=0.0))
    picked = np.searchsorted(along, np.linspace(0, along[-1], CURVE_POINTS))
    return np.unique(np.concatenate(([0], np.minimum(picked, len(far) - 1), [len(far) - 1]))).astype(np.int64)
