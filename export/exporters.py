"""Tries torch's exporters in turn and keeps the first graph that passes the gate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from export.comparison import decoded_samples, gate_plan, reference_of, scale_random, scaling_batches
from export.draft import INPUT, ExportChoices, bakes, channels_of, draft_of
from export.gate.compare import Expected
from export.gate.grid import other_sizes, telling_side
from export.gate.report import GateReport
from export.gate.rounding import rounding_of, with_rounding
from export.gate.run import Candidate, Plan, run_gate
from export.graph import graph_bytes, inspect_graph, opset_of
from export.package import PackageDraft, draft_manifest
from export.passes.bake_input import bake_input
from export.passes.fold_constants import fold_constants
from export.passes.fuse_batch_norm import fuse_batch_norm
from export.passes.nms_in_graph import nms_in_graph
from export.passes.result import accepted
from export.passes.to_float16 import to_float16
from export.subject import Subject
from export.trace import TraceSpec, trace_with
from pipelines.errors import OcellaError, RecipeError
from pipelines.specs import DetectionHead

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, eq=False)
class Exported:
    """The outcome: a proven graph with its recipe, or none; and what the gate said of each attempt.

    Attributes:
        model: the graph, or ``None`` where none passed.
        draft: what its manifest says.
        plan: what was compared.
        reports: one an attempt, the last one is that of ``model``.
        rewrites: rewrites by graph pass.
        expected: what torch answered to each case of the plan.
    """

    model: onnx.ModelProto | None
    draft: PackageDraft
    plan: Plan
    reports: tuple[GateReport, ...]
    rewrites: dict[str, int]
    expected: tuple[Expected, ...]

    @property
    def graph(self) -> bytes:
        """The graph's bytes; raises RecipeError with the last report where none passed."""
        if self.model is None:
            raise RecipeError(f"no export passed the gate: {'; '.join(one.sentence for one in self.reports)}")
        return graph_bytes(self.model)


def export_subject(
    subject: Subject, choices: ExportChoices, *, report: Callable[[str], None] = lambda _: None
) -> Exported:
    """Export a module until a graph passes the gate; raises RecipeError only where nothing can be tried at all.

    Free sides are tried first where the module has them, then the recipe's own size. The module is put in eval mode,
    and random weights are scaled in place; one that sits on a GPU is left there as it is, and a copy is exported.
    """
    subject = _on_cpu(subject)
    images = decoded_samples(subject)
    rows_hw = [subject.row_hw(image.shape[:2]) for image in images]
    draft = draft_of(subject, choices)
    reference = reference_of(subject, draft)
    least = _least_compared(subject, rows_hw[0])
    sizes = other_sizes(rows_hw[0], multiple_of=subject.sizes.multiple_of, least=least)
    scaled = scale_random(subject, reference.manifest, images, sizes=sizes)
    if subject.scaling is not None and subject.dynamic_batch:
        rounding = rounding_of(subject.module, scaling_batches(subject, reference.manifest, images, sizes))
        draft = replace(draft, tolerance=with_rounding(draft.tolerance, rounding, precision=choices.precision))
    reports: list[GateReport] = []
    plan = gate_plan(subject, images, sizes=(), choices=choices, scaled=scaled)
    for free in _freedoms(subject, rows_hw, choices):
        sizes = other_sizes(rows_hw[0], multiple_of=free, least=least)
        plan = gate_plan(subject, images, sizes=sizes, choices=choices, scaled=scaled)
        spec = TraceSpec(
            row_shape=(channels_of(subject), *rows_hw[0]),
            input_name=INPUT,
            output_names=subject.output_names,
            dynamic_batch=subject.dynamic_batch,
            size_multiple=free,
            least_side=min(subject.sizes.least, *rows_hw[0]),
        )
        for exporter in choices.exporters:
            report(f"{exporter}: tracing")
            try:
                model, rewrites = _graph(exporter, subject, spec, choices)
            except OcellaError as error:
                reports.append(_failed(exporter, choices, draft, spec, str(error)))
                report(reports[-1].sentence)
                continue
            manifest = draft_manifest(draft, *inspect_graph(model))
            candidate = Candidate(
                manifest=manifest, graph=graph_bytes(model), exporter=exporter, precision=choices.precision
            )
            verdict = run_gate(reference, candidate, plan, report=report)
            reports.append(verdict.report)
            report(reports[-1].sentence)
            if reports[-1].passed:
                draft = _with_opset(draft, opset_of(model))
                return Exported(model, draft, plan, tuple(reports), rewrites, verdict.expected)
    return Exported(None, draft, plan, tuple(reports), {}, ())


def _on_cpu(subject: Subject) -> Subject:
    """The subject with its weights where the gate's inputs are, and where float32 is float32."""
    if all(value.device.type == "cpu" for value in subject.module.state_dict().values()):
        return subject
    return replace(subject, module=copy.deepcopy(subject.module).to("cpu"))


def _least_compared(subject: Subject, row_hw: tuple[int, int]) -> int:
    """Shortest side of the gate's other sizes: random weights find something at any, learnt ones what is large."""
    if subject.trained and isinstance(subject.head, DetectionHead):
        return max(subject.sizes.least, telling_side(row_hw))
    return subject.sizes.least


def _freedoms(subject: Subject, rows_hw: Sequence[tuple[int, int]], choices: ExportChoices) -> list[int | None]:
    """Multiples of free sides to try; a fit that gives rows of several sizes needs them free."""
    multiple = subject.sizes.multiple_of
    several = len(set(rows_hw)) > 1 or subject.image.fit.kind in ("pad", "stretch_to_multiple", "none")
    if multiple is None or choices.nms_in_graph:
        return [None]
    return [multiple] if several else [multiple, None]


def _graph(
    exporter: str, subject: Subject, spec: TraceSpec, choices: ExportChoices
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Trace, then the graph passes with the rewrites of each."""
    model = trace_with(exporter, subject.module, spec)
    rewrites: dict[str, int] = {}
    for name, result_of in (("fold_constants", fold_constants), ("fuse_batch_norm", fuse_batch_norm)):
        result = result_of(model)
        model, rewrites[name] = accepted(result, name=name), result.count
    if isinstance(subject.head, DetectionHead) and choices.nms_in_graph:
        height, width = spec.row_shape[1:]
        result = nms_in_graph(model, subject.head, row_hw=(height, width))
        model, rewrites["nms_in_graph"] = accepted(result, name="nms_in_graph"), result.count
    if choices.precision == "fp16":
        result = to_float16(model)
        model, rewrites["to_float16"] = accepted(result, name="to_float16"), result.count
    if bakes(subject, choices):
        result = bake_input(model, subject.image)
        model, rewrites["bake_input"] = accepted(result, name="bake_input"), result.count
    return model, rewrites


def _failed(exporter: str, choices: ExportChoices, draft: PackageDraft, spec: TraceSpec, problem: str) -> GateReport:
    wanted = [name for name, free in (("batch", spec.dynamic_batch), ("height, width", spec.size_multiple)) if free]
    return GateReport(
        exporter=exporter,
        precision=choices.precision,
        dynamic=tuple(wanted),
        tolerance=draft.tolerance,
        coverage={},
        problem=problem,
    )


def _with_opset(draft: PackageDraft, opset: int) -> PackageDraft:
    return replace(draft, provenance=draft.provenance.model_copy(update={"opset": opset}))
