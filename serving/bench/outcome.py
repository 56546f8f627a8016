"""What one round of load came to: codes, latencies, rate, and the generator's own cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from serving.bench.schedule import Seconds

OK = "OK"
PERCENTS = (50, 90, 95, 99)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """One round.

    Attributes:
        codes: answers by the name of their gRPC code; their sum is the number of requests sent.
        latency_s: ``(N,)`` float64, of the answers with code OK, ascending. Closed loop: from sending; open loop: from
            the moment at which the request was due, so that a generator or server that stalls hides nothing.
        seconds: from the first request to the last answer.
        late_s: ``(N,)`` float64, how much later than due each request of an open loop was sent; empty in a closed loop.
        cpu_s: processor time of the generator's process.
    """

    codes: Mapping[str, int]
    latency_s: Seconds
    seconds: float
    late_s: Seconds = field(default_factory=lambda: np.empty(0))
    cpu_s: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", MappingProxyType(dict(self.codes)))
        if self.ok != len(self.latency_s):
            raise ValueError(f"latency_s must have one value for each of {self.ok} answers, got {len(self.latency_s)}")

    @property
    def sent(self) -> int:
        """Requests."""
        return sum(self.codes.values())

    @property
    def ok(self) -> int:
        """Requests that were answered with a result."""
        return self.codes.get(OK, 0)

    @property
    def rate(self) -> float:
        """Results by second."""
        return self.ok / self.seconds

    @property
    def generator_cores(self) -> float:
        """Cores that the generator kept busy."""
        return self.cpu_s / self.seconds

    def percentile_s(self, percent: float) -> float:
        """The smallest measured latency that at least ``percent`` % stay within; NaN where nothing was answered."""
        if not len(self.latency_s):
            return float("nan")
        return float(np.percentile(self.latency_s, percent, method="inverted_cdf"))

    def within(self, limit_s: float) -> float:
        """Results by second whose latency is at most ``limit_s``."""
        return int(np.searchsorted(self.latency_s, limit_s, side="right")) / self.seconds
