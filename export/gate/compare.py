"""One case on one runtime: the raw outputs, then what the pipelines make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.gate.report import CaseResult
from pipelines.agreement import compare_results
from pipelines.errors import ModelOutputError, ModelRunError
from pipelines.golden import as_predict_options, cuts_of
from pipelines.grid import Case, CaseInput, Runtime
from pipelines.manifest import GoldenOptions, GoldenTolerance, RawTolerance
from pipelines.raw_agreement import compare_raw
from pipelines.session import Session, split_rows
from pipelines.types import AnyArray, Result


@dataclass(frozen=True, eq=False)
class Expected:
    """What the torch model answers for a case.

    Attributes:
        given: the rows, as its own recipe makes them.
        outputs: raw outputs ``(B, ...)`` by name.
        results: of each row, one a set of options.
    """

    given: CaseInput
    outputs: Mapping[str, AnyArray]
    results: tuple[tuple[Result, ...], ...]


def answer(session: Session, given: CaseInput) -> dict[str, AnyArray]:
    """Run the rows of a case; raises ModelRunError."""
    return session.run({session.inputs[0].name: given.batch})


def decode(
    given: CaseInput, outputs: Mapping[str, AnyArray], options: Sequence[GoldenOptions]
) -> tuple[tuple[Result, ...], ...]:
    """Results of each row, one a set of options; raises ModelRunError, ModelOutputError."""
    rows = split_rows(outputs, expected_rows=len(given.batch))
    return tuple(
        tuple(given.pipeline.postprocess(row, affine, as_predict_options(option)) for option in options)
        for row, affine in zip(rows, given.affines, strict=True)
    )


def compare_case(
    case: Case,
    runtime: Runtime,
    *,
    expected: Expected,
    session: Session,
    given: CaseInput,
    options: Sequence[GoldenOptions],
    raw: RawTolerance,
    tolerance: GoldenTolerance,
) -> CaseResult:
    """Compare what the graph answers with what torch did; never raises for a wrong graph, the result names it.

    Raw outputs that only one side has (a graph that suppresses for itself) are compared as decoded results alone.
    """
    try:
        outputs = answer(session, given)
    except ModelRunError as error:
        return CaseResult(case, runtime, raw_ratio=np.inf, problem=f"the graph does not run: {error}")
    shared = {name: value for name, value in expected.outputs.items() if name in outputs}
    found = compare_raw(shared, outputs, raw)
    part = CaseResult(case, runtime, found.values, found.max_difference, found.ratio)
    if found.problem:
        return _with(part, f"raw outputs differ: {found.problem}")
    try:
        results = decode(given, outputs, options)
    except (ModelOutputError, ModelRunError) as error:
        return _with(part, f"the outputs cannot be decoded: {error}")
    compared, excluded = 0, 0
    for row, (wanted, got) in enumerate(zip(expected.results, results, strict=True)):
        for one, other, option in zip(wanted, got, options, strict=True):
            agreement = compare_results(one, other, tolerance, cuts_of(given.pipeline.manifest, option))
            compared, excluded = compared + agreement.compared, excluded + agreement.excluded
            if agreement.problem:
                part = CaseResult(case, runtime, found.values, found.max_difference, found.ratio, compared, excluded)
                return _with(part, f"decoded results of row {row} differ: {agreement.problem}")
    return CaseResult(case, runtime, found.values, found.max_difference, found.ratio, compared, excluded)


def _with(result: CaseResult, problem: str) -> CaseResult:
    return CaseResult(
        result.case,
        result.runtime,
        result.values,
        result.max_difference,
        result.raw_ratio,
        result.compared,
        result.excluded,
        problem,
    )
