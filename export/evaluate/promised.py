"""What was measured now beside what the package promises."""

from __future__ import annotations

from collections.abc import Mapping

from export.evaluate.measured import Table
from pipelines.manifest import Metric

SMALLER_IS_BETTER = frozenset({"ece", "eer"})
DROP = 0.005
"""A metric that is worse by more than this is called a drop: half a percent, more than kernels and rounding move it."""


def compare(measured: Mapping[str, float], promised: Mapping[str, Metric]) -> Table | None:
    """Metrics that both have; ``None`` where there is none."""
    rows = []
    for name, promise in promised.items():
        if name in measured:
            change = measured[name] - promise.value
            worse = change if name in SMALLER_IS_BETTER else -change
            rows.append(
                (name, measured[name], promise.value, change, promise.split, "drop" if worse > DROP else "kept")
            )
    columns = ("metric", "measured", "promised", "change", "promised_on", "verdict")
    return Table("measured now and promised by the package", columns, tuple(rows)) if rows else None
