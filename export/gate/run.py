"""The gate: a graph against the torch module that it was exported from, over the whole grid, until the first miss."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.gate.compare import Expected, answer, compare_case, decode
from export.gate.coverage import Coverage, coverage_of
from export.gate.diagnose import diagnose
from export.gate.report import CaseResult, GateReport
from pipelines.errors import GraphMismatchError, ModelOutputError, ModelRunError, RecipeError
from pipelines.grid import RUNTIMES, Case, Runtime, case_input, size_text
from pipelines.manifest import GoldenOptions, ModelManifest, RawTolerance
from pipelines.raw_agreement import compare_raw
from pipelines.session import CPU, OnnxSession, Session
from pipelines.types import ByteArray

MAX_EXCLUDED = 0.05
# Two runs of one module on one machine: torch itself is exact here, save for blocking by the batch's size.
STEADY = RawTolerance(rtol=1e-3, atol=1e-4)


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """The truth: a module behind a session, and the recipe that it was trained with.

    Attributes:
        manifest: the recipe.
        session: the module.
        exact: makes a session of the module in float64, which takes float64 rows: asked for after a miss alone.
    """

    manifest: ModelManifest
    session: Session
    exact: Callable[[], Session]


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """A graph to prove, and the recipe of its package."""

    manifest: ModelManifest
    graph: bytes
    exporter: str
    precision: str = "fp32"


@dataclass(frozen=True, eq=False)
class Verdict:
    """The gate's answer, and what torch answered to each case of the plan (empty where torch itself failed)."""

    report: GateReport
    expected: tuple[Expected, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What is compared.

    Attributes:
        images: ``(H, W, 3)`` uint8 RGB.
        cases: see ``export.gate.grid``.
        runtimes: see ``pipelines.grid``.
        options: each row is decoded once with each.
        num_classes: that the head can answer.
        scaled: layers that were scaled, since the weights are random; then results must cover something.
        trained: whether the weights were learnt.
    """

    images: Sequence[ByteArray]
    cases: Sequence[Case]
    runtimes: Sequence[Runtime] = RUNTIMES
    options: Sequence[GoldenOptions]
    num_classes: int
    scaled: tuple[str, ...] = ()
    trained: bool


def run_gate(
    reference: Reference, candidate: Candidate, plan: Plan, *, report: Callable[[str], None] = lambda _: None
) -> Verdict:
    """Compare every case on every runtime, as tensors and as decoded results; stops at the first miss.

    A graph passes where every comparison does, decoded results were compared at each size of row, at most 5 % of them
    all were near-ties, and results of random weights hold enough to prove something.
    """
    try:
        expected = _expectations(reference, plan)
    except (ModelRunError, ModelOutputError, RecipeError) as error:
        return Verdict(_report(candidate, plan, (), None, f"the torch model itself fails: {error}"))
    found = coverage_of(
        (result for one in expected for row in one.results for result in row), num_classes=plan.num_classes
    )
    if not plan.trained and (lack := found.lack(reference.manifest.head.task, num_classes=plan.num_classes)):
        return Verdict(_report(candidate, plan, (), found, f"random weights prove too little: {lack}"))
    with _as_file(candidate.graph) as path:
        return Verdict(_compare_all(reference, candidate, plan, expected, found, path, report), tuple(expected))


def _compare_all(
    reference: Reference,
    candidate: Candidate,
    plan: Plan,
    expected: Sequence[Expected],
    found: Coverage,
    path: Path,
    report: Callable[[str], None],
) -> GateReport:
    results: list[CaseResult] = []
    for runtime in plan.runtimes:
        report(f"{candidate.exporter}, {runtime.label}: {len(plan.cases)} cases")
        try:
            session = _open(path, runtime, candidate)
        except GraphMismatchError as error:
            return _report(candidate, plan, tuple(results), found, f"{runtime.label}: {error}")
        with session:
            for case, truth in zip(plan.cases, expected, strict=True):
                results.append(_compare(case, runtime, truth, session, candidate, plan))
                if results[-1].problem:
                    problem = f"{results[-1].where}: {results[-1].problem}"
                    causes = diagnose(reference, candidate, plan, session=session, missed=results[-1])
                    return _report(candidate, plan, tuple(results), found, problem, causes)
    done = _report(candidate, plan, tuple(results), found, None)
    return _report(candidate, plan, done.results, found, _lack_of_proof(done))


def _lack_of_proof(done: GateReport) -> str | None:
    if done.compared == 0:
        return "no decoded result was compared, so nothing is proven"
    if empty := _sizes_without_results(done):
        return (
            f"decoded results must be compared at each size of row, there are none at {', '.join(empty)}: "
            "a sample with larger objects shows some"
        )
    if done.excluded > MAX_EXCLUDED * (done.compared + done.excluded):
        return (
            f"at most {MAX_EXCLUDED:.0%} of the decoded results may be near-ties, "
            f"{done.excluded} of {done.compared + done.excluded} are"
        )
    return None


def _sizes_without_results(done: GateReport) -> list[str]:
    compared: dict[tuple[int, int] | None, int] = {}
    for one in done.results:
        compared[one.case.size_hw] = compared.get(one.case.size_hw, 0) + one.compared
    return [size_text(size_hw) for size_hw, count in compared.items() if count == 0]


def _expectations(reference: Reference, plan: Plan) -> list[Expected]:
    """What torch answers for each case; raises RecipeError where it does not answer the same twice, or rows mix."""
    found: list[Expected] = []
    for case in plan.cases:
        given = case_input(reference.manifest, plan.images, case)
        outputs = answer(reference.session, given)
        if not found:
            again = compare_raw(outputs, answer(reference.session, given), STEADY)
            if again.problem:
                raise RecipeError(
                    f"it answers the same rows differently, as a dropout that is left on: {again.problem}"
                )
        found.append(Expected(given, outputs, decode(given, outputs, plan.options)))
    _require_separate_rows(reference.session, found)
    return found


def _require_separate_rows(session: Session, found: Sequence[Expected]) -> None:
    """Hold every row of the first batch of several against its answer alone; raises RecipeError."""
    several = next((one for one in found if len(one.given.batch) > 1), None)
    if several is None:
        return
    rows = several.given.batch
    alone = [session.run({session.inputs[0].name: rows[i : i + 1]}) for i in range(len(rows))]
    joined = {name: np.concatenate([one[name] for one in alone]) for name in several.outputs}
    mixed = compare_raw(joined, several.outputs, STEADY)
    if mixed.problem:
        raise RecipeError(
            f"rows of a batch change each other, as batch-norm without running statistics: {mixed.problem}"
        )


def _compare(
    case: Case, runtime: Runtime, truth: Expected, session: Session, candidate: Candidate, plan: Plan
) -> CaseResult:
    given = case_input(candidate.manifest, plan.images, case)
    tolerance = candidate.manifest.golden.tolerance
    return compare_case(
        case,
        runtime,
        expected=truth,
        session=session,
        given=given,
        options=plan.options,
        raw=tolerance.raw[CPU],
        tolerance=tolerance,
    )


def _open(path: Path, runtime: Runtime, candidate: Candidate) -> OnnxSession:
    return OnnxSession(path, runtime.options(CPU), outputs=candidate.manifest.head.output_names)


@contextmanager
def _as_file(graph: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ocella-gate-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        yield path


def _report(
    candidate: Candidate,
    plan: Plan,
    results: tuple[CaseResult, ...],
    found: Coverage | None,
    problem: str | None,
    diagnosis: tuple[str, ...] = (),
) -> GateReport:
    free = tuple(str(size) for size in candidate.manifest.inputs[0].shape if isinstance(size, str))
    return GateReport(
        exporter=candidate.exporter,
        precision=candidate.precision,
        dynamic=free,
        tolerance=candidate.manifest.golden.tolerance,
        results=results,
        coverage=found.to_json() if found else {},
        scaled=plan.scaled,
        problem=problem,
        diagnosis=diagnosis,
    )
