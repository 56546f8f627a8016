"""Whether raw outputs agree within a tolerance, and where they first do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.manifest import RawTolerance
from pipelines.types import AnyArray


@dataclass(frozen=True)
class RawAgreement:
    """What a comparison of raw outputs found.

    Attributes:
        values: values that were compared.
        max_difference: largest absolute difference of a finite value.
        ratio: largest difference as a part of what is allowed; above 1 is a problem.
        problem: the first difference, or ``None``.
    """

    values: int
    max_difference: float
    ratio: float
    problem: str | None = None


def compare_raw(expected: Mapping[str, AnyArray], got: Mapping[str, AnyArray], tolerance: RawTolerance) -> RawAgreement:
    """Compare outputs ``(batch, ...)`` by name, element by element; every output of ``expected`` must be there.

    Equal infinities agree; NaN agrees with nothing. The first output in the order of ``expected`` that differs is the
    problem, with the row and place of its largest difference.
    """
    values, worst, ratio = 0, 0.0, 0.0
    for name, reference in expected.items():
        if name not in got:
            return RawAgreement(values, worst, np.inf, f"output {name!r} is missing, there are {sorted(got)}")
        value = got[name]
        if value.shape != reference.shape:
            text = f"output {name!r} has shape {value.shape}, the reference {reference.shape}"
            return RawAgreement(values, worst, np.inf, text)
        a, b = reference.astype(np.float64), value.astype(np.float64)
        with np.errstate(invalid="ignore"):
            difference = np.where(a == b, 0.0, np.abs(a - b))
        parts = difference / (tolerance.atol + tolerance.rtol * np.where(np.isfinite(a), np.abs(a), 0.0))
        parts = np.where(np.isnan(parts), np.inf, parts)
        values += value.size
        worst = max(worst, float(difference[np.isfinite(difference)].max(initial=0.0)))
        ratio = max(ratio, float(parts.max(initial=0.0)))
        if ratio > 1:
            place = tuple(int(i) for i in np.unravel_index(int(parts.argmax()), parts.shape))
            text = (
                f"output {name!r} of row {place[0]} is {b[place]:.6g} at {list(place[1:])}, the reference "
                f"{a[place]:.6g}; {np.count_nonzero(parts > 1):,} of {parts.size:,} values differ by more than "
                f"{tolerance.atol:.0e} + {tolerance.rtol:.0e} of the value"
            )
            return RawAgreement(values, worst, ratio, text)
    return RawAgreement(values, worst, ratio)
