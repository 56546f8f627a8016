"""Confidence intervals of a proportion."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""


def wilson(successes: float, trials: float, *, z: float = Z95) -> tuple[float, float]:
    """The score interval of a proportion (E. B. Wilson, JASA 22, 1927); (0, 1) without trials.

    It holds for independent trials. Unlike the textbook interval it stays within 0..1 and is no point at 0 or 1.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
