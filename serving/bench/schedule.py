"""When an open loop sends: arrivals that do not wait for answers."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Seconds: TypeAlias = NDArray[np.float64]


def poisson_starts(rate: float, duration_s: float, *, seed: int) -> Seconds:
    """Arrivals of a Poisson process: ``(N,)`` float64 seconds from the start, ascending, all below ``duration_s``.

    Gaps are exponential with mean ``1 / rate``; the same arguments give the same arrivals. Raises ValueError where
    ``rate`` or ``duration_s`` is not above 0.
    """
    if not (rate > 0 and duration_s > 0):
        raise ValueError(f"rate and duration_s must be above 0, got {rate} and {duration_s}")
    random = np.random.default_rng(seed)
    starts = np.empty(0)
    while not starts.size or starts[-1] < duration_s:
        gaps = random.exponential(1 / rate, size=max(16, int(rate * duration_s)))
        starts = np.concatenate([starts, (starts[-1] if starts.size else 0.0) + np.cumsum(gaps)])
    return starts[starts < duration_s]
