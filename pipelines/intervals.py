"""The exact confidence interval of a proportion, and how many trials a rate needs."""

from __future__ import annotations

import math
from collections.abc import Callable

Z95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
_STEPS = 60  # halvings: to 1e-18
_TINY = 1e-300
_EPSILON = 1e-15


def clopper_pearson(successes: float, trials: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a proportion (Clopper and Pearson, Biometrika 26, 1934); (0, 1) without trials.

    ``successes`` and ``trials`` need not be whole: with an effective number of trials it is the interval of Korn and
    Graubard (Survey Methodology 24, 1998) for trials that depend on each other.
    """
    if trials <= 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    failures = trials - successes
    low = 0.0 if successes <= 0 else _root(lambda p: beta_cdf(p, successes, failures + 1) - tail)
    high = 1.0 if failures <= 0 else _root(lambda p: beta_cdf(p, successes + 1, failures) - (1 - tail))
    return low, high


def compared(rate: float, successes: float, trials: float, *, confidence: float = 0.95) -> int:
    """Whether a rate lies below (-1), inside (0) or above (1) :func:`clopper_pearson`, without computing its ends."""
    tail = (1 - confidence) / 2
    failures = trials - successes
    if successes > 0 and beta_cdf(rate, successes, failures + 1) < tail:
        return -1
    return int(failures > 0 and beta_cdf(rate, successes + 1, failures) > 1 - tail)


def trials_needed(rate: float, *, confidence: float = 0.95) -> int:
    """Fewest trials without a success that show a proportion to be at most ``rate``: about 3 / rate at 95 %.

    The rule of three (Hanley and Lippman-Hand, JAMA 249, 1983), exactly: (1 - rate)^n must be at most 1 - confidence.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate must be above 0 and below 1, got {rate}")
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast below the mean; 1 - I_(1-x)(b, a) elsewhere
        return 1 - beta_cdf(1 - x, b, a)
    log_front = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    return math.exp(log_front) / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)) by Lentz's method."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / ((1 + term * d) or _TINY)
        c = (1 + term / c) or _TINY
        value *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return value


def _root(function: Callable[[float], float]) -> float:
    """Where a function that ascends from 0 to 1 crosses 0, by halving."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2
