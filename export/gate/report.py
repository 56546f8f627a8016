"""What the gate found: every case on every runtime, the first difference, and what it probably is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.grid import Case, Runtime
from pipelines.manifest import GoldenTolerance


@dataclass(frozen=True)
class CaseResult:
    """One case on one runtime.

    Attributes:
        case: the rows.
        runtime: how the graph ran.
        values: raw output values that were compared.
        max_difference: largest absolute difference of a raw output.
        raw_ratio: the same as a part of the tolerance.
        compared: decoded results that were compared.
        excluded: decoded results left out as near-ties.
        problem: the first difference, or ``None``.
    """

    case: Case
    runtime: Runtime
    values: int = 0
    max_difference: float = 0.0
    raw_ratio: float = 0.0
    compared: int = 0
    excluded: int = 0
    problem: str | None = None

    @property
    def where(self) -> str:
        """The case and the runtime in words."""
        return f"{self.case.label}; {self.runtime.label}"


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """The gate's answer for one graph.

    Attributes:
        exporter: what made the graph.
        precision: ``fp32`` or ``fp16``.
        dynamic: axes that are free.
        tolerance: what was allowed, with its reason.
        results: every comparison up to the first miss.
        coverage: what the decoded results hold: ``detections``, ``classes``, ``least_class_share``.
        scaled: layers that were scaled since the weights are random; empty for learnt weights.
        problem: the first difference, or ``None`` where the gate is passed.
        diagnosis: what explains it, found by trying.
    """

    exporter: str
    precision: str
    dynamic: tuple[str, ...]
    tolerance: GoldenTolerance
    results: tuple[CaseResult, ...] = ()
    coverage: Mapping[str, float]
    scaled: tuple[str, ...] = ()
    problem: str | None = None
    diagnosis: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the graph may be packaged."""
        return self.problem is None

    @property
    def compared(self) -> int:
        """Decoded results that were compared, near-ties aside."""
        return sum(result.compared for result in self.results)

    @property
    def excluded(self) -> int:
        """Near-ties that were left out."""
        return sum(result.excluded for result in self.results)

    @property
    def max_difference(self) -> float:
        """Largest absolute difference of a raw output."""
        return max((result.max_difference for result in self.results), default=0.0)

    @property
    def raw_ratio(self) -> float:
        """Largest difference of a raw output as a part of its tolerance."""
        return max((result.raw_ratio for result in self.results), default=0.0)

    @property
    def sentence(self) -> str:
        """The answer in one line."""
        if self.problem is None:
            return (
                f"{self.exporter}: passed, {len(self.results)} comparisons, {self.compared} decoded results equal, "
                f"{self.excluded} near-ties left out, raw outputs within {self.max_difference:.1e}"
            )
        causes = f" ({'; '.join(self.diagnosis)})" if self.diagnosis else ""
        return f"{self.exporter}: {self.problem}{causes}"

    def to_json(self) -> dict[str, Any]:
        """The whole report as JSON values: every case on every runtime."""
        results = [
            {
                **asdict(result),
                "case": result.case.to_json(),
                "runtime": asdict(result.runtime),
                "raw_ratio": finite(result.raw_ratio),
            }
            for result in self.results
        ]
        return {**self.summary(), "results": results}

    def summary(self) -> dict[str, Any]:
        """The report without the single comparisons."""
        return {
            "passed": self.passed,
            "exporter": self.exporter,
            "precision": self.precision,
            "dynamic": list(self.dynamic),
            "problem": self.problem,
            "diagnosis": list(self.diagnosis),
            "decoded_compared": self.compared,
            "decoded_excluded": self.excluded,
            "max_difference": self.max_difference,
            "raw_ratio": finite(self.raw_ratio),
            "comparisons": len(self.results),
            "runtimes": list(dict.fromkeys(result.runtime.label for result in self.results)),
            "coverage": dict(self.coverage),
            "scaled": list(self.scaled),
            "tolerance": self.tolerance.model_dump(mode="json"),
        }


def finite(ratio: float) -> float | None:
    """A number that JSON has; infinity stands for outputs that could not be compared at all."""
    return ratio if math.isfinite(ratio) else None
