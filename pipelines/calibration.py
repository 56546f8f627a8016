"""Thresholds with evidence: false match and false non-match rates with intervals, and the bands of a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.decisions import Thresholds
from pipelines.errors import CalibrationError
from pipelines.intervals import Z95, clopper_pearson, compared, trials_needed
from pipelines.types import AnyArray, FloatArray
from pipelines.verification import Pairs, Roc, all_pairs, roc_curve


@dataclass(frozen=True)
class Rate:
    """A measured proportion.

    Attributes:
        value: measured.
        low: of the 95 % interval.
        high: of the 95 % interval.
        events: pairs that count.
        pairs: of how many.
        effective_pairs: independent pairs that would say as much: no more than ``pairs``, since pairs share people.
    """

    value: float
    low: float
    high: float
    events: int
    pairs: int
    effective_pairs: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A threshold and the evidence for it.

    Attributes:
        thresholds: the decision bands.
        same_low: 95 % interval of the threshold that has exactly the target rate: lower end.
        same_high: upper end.
        target_fmr: the false match rate that may not be passed.
        target_fnmr: part of the genuine pairs that may be called ``different``.
        fmr: impostor pairs called ``same``.
        fnmr: genuine pairs not called ``same``.
        missed: genuine pairs called ``different``.
        auc: area under the ROC curve.
        eer: equal error rate.
        images: measured.
        people: on them.
    """

    thresholds: Thresholds
    same_low: float
    same_high: float
    target_fmr: float
    target_fnmr: float
    fmr: Rate
    fnmr: Rate
    missed: Rate
    auc: float
    eer: float
    images: int
    people: int


@dataclass(frozen=True, eq=False)
class Measured:
    """Everything that a calibration looked at: the pairs, their curve, and what came out."""

    pairs: Pairs
    roc: Roc
    calibration: Calibration


def calibrate(vectors: FloatArray, identities: AnyArray, *, target_fmr: float, target_fnmr: float = 0.01) -> Measured:
    """Choose the threshold for a false match rate from all pairs of labelled images.

    The threshold is the lowest at which the measured rate is at most ``target_fmr``, as ``ocella evaluate`` reports it.

    Args:
        vectors: ``(N, D)`` embeddings.
        identities: ``(N,)`` whom each shows.
        target_fmr: above 0, below 1.
        target_fnmr: of the lower band.

    Raises:
        CalibrationError: too few impostor pairs for the rate, or no two images of one person or of two.
    """
    if not (0 < target_fmr < 1 and 0 < target_fnmr < 1):
        raise CalibrationError(f"rates must be above 0 and below 1, got {target_fmr} and {target_fnmr}")
    people = len(np.unique(identities))
    try:
        pairs = all_pairs(vectors, identities)
    except ValueError as error:
        raise CalibrationError(f"a threshold cannot be chosen: {error}") from error
    impostors = int((~pairs.genuine).sum())
    needed = trials_needed(target_fmr)
    if impostors < needed:
        raise CalibrationError(
            f"a false match rate of {target_fmr:g} needs at least {needed:,} pairs of two people (rule of three), "
            f"there are {impostors:,} of {len(vectors)} images of {people} people: "
            f"{_images_needed(needed, len(vectors), people):,} images, as many of each person, would do"
        )
    roc = roc_curve(pairs.scores, pairs.genuine)
    same = float(np.clip(roc.at_far(target_fmr)[1], -1.0, 1.0))
    genuine_scores = np.sort(pairs.scores[pairs.genuine])
    allowed = int(target_fnmr * len(genuine_scores))  # as many may lie below
    different = min(same, float(np.clip(genuine_scores[allowed], -1.0, 1.0)))
    fmr = _rate(pairs, pairs.scores >= same, _design_effect(pairs, target_fmr, genuine=False), genuine=False)
    rejected, missed = pairs.scores < same, pairs.scores < different
    low, high = _threshold_interval(pairs, fmr, target_fmr)
    calibration = Calibration(
        thresholds=Thresholds(same, different, target_fmr),
        same_low=low,
        same_high=high,
        target_fmr=target_fmr,
        target_fnmr=target_fnmr,
        fmr=fmr,
        fnmr=_rate(pairs, rejected, _design_effect(pairs, _share(rejected, pairs), genuine=True), genuine=True),
        missed=_rate(pairs, missed, _design_effect(pairs, target_fnmr, genuine=True), genuine=True),
        auc=roc.auc,
        eer=roc.eer,
        images=len(vectors),
        people=people,
    )
    return Measured(pairs, roc, calibration)


def _share(event: NDArray[np.bool_], pairs: Pairs) -> float:
    return float(event[pairs.genuine].mean())


def _images_needed(needed: int, images: int, people: int) -> int:
    """Images with as many impostor pairs as are needed, at as many images a person as there are: n(n - each) / 2."""
    each = images / people
    return int(np.ceil((each + np.sqrt(each * each + 8 * needed)) / 2))


def _rate(pairs: Pairs, event: NDArray[np.bool_], design_effect: float, *, genuine: bool) -> Rate:
    """The part of the genuine, or impostor, pairs for which ``event`` holds, with its interval.

    The interval is the exact one of as many independent pairs as say as much (Korn and Graubard, 1998).
    """
    hits = event[pairs.genuine == genuine]
    effective = len(hits) / design_effect
    low, high = clopper_pearson(float(hits.mean()) * effective, effective)
    return Rate(float(hits.mean()), low, high, int(hits.sum()), len(hits), effective)


def _design_effect(pairs: Pairs, rate: float, *, genuine: bool) -> float:
    """How many pairs say as much as one independent pair would, about rates near ``rate``: 1 or more.

    The largest of what is seen at the rate itself, at 3 and at 10 times of it: the rarer an event, the less its pairs
    tell of their dependence. Fewer people widen it by Student's t (Cornish and Fisher's first term).
    """
    chosen = pairs.genuine == genuine
    scores = -pairs.scores[chosen] if genuine else pairs.scores[chosen]
    _, places = np.unique(pairs.people[chosen], return_inverse=True)
    people = places.reshape(-1, 2)
    order = np.argsort(-scores, kind="stable")
    largest = 1.0
    for share in (rate, 3 * rate, 10 * rate):
        count = max(1, round(share * len(scores)))
        if share > 0.5 or count >= len(scores):
            break
        event = np.zeros(len(scores))
        event[order[:count]] = 1.0
        value = count / len(scores)
        variance = _clustered_variance(event - value, people)
        largest = max(largest, variance * len(scores) / (value * (1 - value)))
    degrees = max(1, int(people.max()))
    return largest * (1 + (Z95 * Z95 + 1) / (4 * degrees)) ** 2


def _clustered_variance(residuals: NDArray[np.float64], people: NDArray[np.int64]) -> float:
    """Variance of a mean over pairs that share people.

    Pairs are correlated where they have a person in common (Fafchamps and Gubert, Journal of Development Economics 83,
    2007): sum over people of the squared sum of their pairs' residuals, less what was counted twice.

    Args:
        residuals: ``(P,)``, mean 0.
        people: ``(P, 2)`` numbers from 0; both the same for genuine pairs.
    """
    first, second = people.T
    count = int(people.max()) + 1
    own, counted_twice = np.bincount(first, residuals, count), 0.0
    if not np.array_equal(first, second):
        own = own + np.bincount(second, residuals, count)
        between = np.bincount(np.minimum(first, second) * count + np.maximum(first, second), residuals)
        counted_twice = float(np.square(between).sum())
    return (float(np.square(own).sum()) - counted_twice) / len(residuals) ** 2


def _threshold_interval(pairs: Pairs, fmr: Rate, target: float) -> tuple[float, float]:
    """The thresholds at which the target lies within the interval of the rate measured there."""
    scores = np.sort(pairs.scores[~pairs.genuine])[::-1]
    share = fmr.effective_pairs / len(scores)

    fewest = _first(len(scores), lambda k: compared(target, k * share, fmr.effective_pairs) <= 0)
    most = _first(len(scores), lambda k: compared(target, k * share, fmr.effective_pairs) < 0) - 1
    # With k accepted, the threshold lies above score k (counted from 0) and at or below score k - 1.
    high = 1.0 if fewest == 0 else float(scores[fewest - 1])
    low = -1.0 if most >= len(scores) else float(scores[most])
    return min(low, 1.0), min(high, 1.0)


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """The least ``k`` up to ``count`` for which a condition holds that then stays true; else ``count + 1``."""
    low, high = 0, count + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle <= count and holds(middle) else (middle + 1, high)
    return low
