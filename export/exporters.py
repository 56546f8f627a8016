"""Tries torch's exporters in turn and keeps the first graph that passes the gate."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from export.gate.compare import Expected
from export.gate.grid import cases_of, other_sizes
from export.gate.report import GateReport
from export.gate.rounding import rounding_of, with_rounding
from export.gate.run import Candidate, Plan, Reference, run_gate
from export.gate.scaling import scale_last_layers, settle_batch_norm
from export.graph import graph_bytes, inspect_graph, opset_of
from export.package import PackageDraft, draft_manifest
from export.passes.bake_input import bake_input, baked_spec
from export.passes.fold_constants import fold_constants
from export.passes.fuse_batch_norm import fuse_batch_norm
from export.passes.nms_in_graph import nms_in_graph, suppressing_head
from export.passes.result import accepted
from export.passes.to_float16 import to_float16
from export.subject import DEFAULTS, Subject
from export.tolerance import float16_tolerance
from export.torch_session import TorchSession
from export.trace import EXPORTERS, OPSET, TraceSpec, trace_with
from pipelines.errors import OcellaError, RecipeError
from pipelines.grid import case_input
from pipelines.image import ImageLimits, decode_image
from pipelines.manifest import ModelManifest, Provenance
from pipelines.specs import ClassificationHead, DetectionHead, Head, SegmentationHead, TensorSpec
from pipelines.types import ByteArray

if TYPE_CHECKING:
    import onnx

INPUT = "pixels"
_SCALING_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class ExportChoices:
    """What the caller chooses.

    Attributes:
        exporters: those to try, in order; see ``export.trace.EXPORTERS``.
        precision: of the graph inside.
        pixels: ``uint8``: normalisation and layout are in the graph; ``float32``: the graph takes normalised rows.
        nms_in_graph: a detector suppresses for itself; see ``export.passes.nms_in_graph``.
        max_batch: the largest batch that is proven.
    """

    exporters: tuple[str, ...] = tuple(EXPORTERS)
    precision: Literal["fp32", "fp16"] = "fp32"
    pixels: Literal["uint8", "float32"] = "uint8"
    nms_in_graph: bool = False
    max_batch: int = 4


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


def decoded_samples(subject: Subject) -> list[ByteArray]:
    """The samples as ``(H, W, 3)`` uint8 RGB."""
    spec = subject.image
    return [decode_image(one.image, exif=spec.exif, alpha=spec.alpha, limits=ImageLimits()) for one in subject.samples]


def export_subject(
    subject: Subject, choices: ExportChoices, *, report: Callable[[str], None] = lambda _: None
) -> Exported:
    """Export a module until a graph passes the gate; raises RecipeError only where nothing can be tried at all.

    Free sides are tried first where the module has them, then the recipe's own size. The module is put in eval mode,
    and random weights are scaled in place.
    """
    images = decoded_samples(subject)
    rows_hw = [subject.row_hw(image.shape[:2]) for image in images]
    draft = draft_of(subject, choices)
    reference = reference_of(subject, draft)
    sizes = other_sizes(rows_hw[0], multiple_of=subject.sizes.multiple_of, least=subject.sizes.least)
    scaled = scale_random(subject, reference.manifest, images, sizes=sizes)
    if subject.scaling is not None and subject.dynamic_batch:
        rounding = rounding_of(subject.module, _batches(subject, reference.manifest, images, sizes))
        draft = replace(draft, tolerance=with_rounding(draft.tolerance, rounding, precision=choices.precision))
    reports: list[GateReport] = []
    plan = gate_plan(subject, images, sizes=(), choices=choices, scaled=scaled)
    for free in _freedoms(subject, rows_hw, choices):
        sizes = other_sizes(rows_hw[0], multiple_of=free, least=subject.sizes.least)
        plan = gate_plan(subject, images, sizes=sizes, choices=choices, scaled=scaled)
        spec = TraceSpec(
            row_shape=(_channels(subject), *rows_hw[0]),
            input_name=INPUT,
            output_names=subject.output_names,
            dynamic_batch=subject.dynamic_batch,
            size_multiple=free,
            least_side=subject.sizes.least,
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


def draft_of(subject: Subject, choices: ExportChoices) -> PackageDraft:
    """What the manifest of an export says, before the gate has spoken."""
    tools = _tools()
    head: Head = subject.head
    if isinstance(head, DetectionHead) and choices.nms_in_graph:
        head = suppressing_head(head, num_classes=len(subject.labels))
    return PackageDraft(
        name=subject.name,
        version=subject.version,
        description=subject.description,
        license=subject.license,
        source=subject.source,
        image=baked_spec(subject.image) if _bakes(subject, choices) else subject.image,
        head=head,
        labels=subject.labels,
        provenance=Provenance(tools=tools, opset=OPSET, metrics=dict(subject.metrics), parity=None),
        reference="torch",
        recorded_with=tools,
        options=(DEFAULTS,),
        tolerance=float16_tolerance(subject.tolerance) if choices.precision == "fp16" else subject.tolerance,
    )


def _bakes(subject: Subject, choices: ExportChoices) -> bool:
    return choices.pixels == "uint8" and subject.image.dtype == "float32" and subject.image.scale != "image_max"


def _channels(subject: Subject) -> int:
    return 1 if subject.image.color == "gray" else 3


def _freedoms(subject: Subject, rows_hw: Sequence[tuple[int, int]], choices: ExportChoices) -> list[int | None]:
    """Multiples of free sides to try; a fit that gives rows of several sizes needs them free."""
    multiple = subject.sizes.multiple_of
    several = len(set(rows_hw)) > 1 or subject.image.fit.kind in ("pad", "stretch_to_multiple", "none")
    if multiple is None or _suppresses(subject, choices):
        return [None]
    return [multiple] if several else [multiple, None]


def _suppresses(subject: Subject, choices: ExportChoices) -> bool:
    return choices.nms_in_graph and isinstance(subject.head, DetectionHead)


def _graph(
    exporter: str, subject: Subject, spec: TraceSpec, choices: ExportChoices
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Trace, then the graph passes with the rewrites of each."""
    model = trace_with(exporter, subject.module, spec)
    rewrites: dict[str, int] = {}
    for name, result_of in (("fold_constants", fold_constants), ("fuse_batch_norm", fuse_batch_norm)):
        result = result_of(model)
        model, rewrites[name] = accepted(result, name=name), result.count
    if isinstance(subject.head, DetectionHead) and _suppresses(subject, choices):
        height, width = spec.row_shape[1:]
        result = nms_in_graph(model, subject.head, row_hw=(height, width))
        model, rewrites["nms_in_graph"] = accepted(result, name="nms_in_graph"), result.count
    if choices.precision == "fp16":
        result = to_float16(model)
        model, rewrites["to_float16"] = accepted(result, name="to_float16"), result.count
    if _bakes(subject, choices):
        result = bake_input(model, subject.image)
        model, rewrites["bake_input"] = accepted(result, name="bake_input"), result.count
    return model, rewrites


def reference_of(subject: Subject, draft: PackageDraft) -> Reference:
    """The module behind its own recipe, not the package's: baking must not change what is compared with."""
    inputs = (
        TensorSpec(name=INPUT, dtype=subject.image.dtype, shape=("batch", _channels(subject), "height", "width")),
    )
    outputs = tuple(TensorSpec(name=name, dtype="float32", shape=("batch", "?")) for name in subject.output_names)
    manifest = draft_manifest(replace(draft, image=subject.image, head=subject.head), inputs, outputs)
    return Reference(
        manifest=manifest,
        session=TorchSession(subject.module, inputs=inputs, outputs=outputs),
        exact=lambda: TorchSession(copy.deepcopy(subject.module).double(), inputs=inputs, outputs=outputs),
    )


def scale_random(
    subject: Subject,
    manifest: ModelManifest,
    images: list[ByteArray],
    *,
    sizes: Sequence[tuple[int, int]] = (),
) -> tuple[str, ...]:
    """Scale the last layers of random weights; nothing is done to learnt ones."""
    if subject.scaling is None:
        return ()
    batches = _batches(subject, manifest, images, sizes)
    settle_batch_norm(subject.module, batches)
    return scale_last_layers(subject.module, batches, subject.scaling)


def _batches(
    subject: Subject, manifest: ModelManifest, images: list[ByteArray], sizes: Sequence[tuple[int, int]]
) -> list[torch.Tensor]:
    """The rows of the gate's own cases (its largest batch aside), of each size that the module takes."""
    max_batch = _SCALING_BATCH if subject.dynamic_batch else 1
    cases = cases_of(samples=len(images), max_batch=max_batch, sizes=tuple(sizes))
    rows = [torch.from_numpy(case_input(manifest, images, case).batch) for case in cases]
    if subject.dynamic_batch:  # batch-norm after global pooling has statistics of several rows alone.
        shapes = dict.fromkeys(batch.shape[1:] for batch in rows)
        rows = [torch.cat([batch for batch in rows if batch.shape[1:] == shape]) for shape in shapes]
    return [batch for batch in rows if _takes(subject, batch)]


@torch.no_grad()
def _takes(subject: Subject, batch: torch.Tensor) -> bool:
    """Whether the module runs at all: that it says to take other sizes is tried, not believed."""
    try:
        subject.module(batch)
    except (RuntimeError, AssertionError, ValueError):
        return False
    return True


def gate_plan(
    subject: Subject,
    images: list[ByteArray],
    *,
    sizes: tuple[tuple[int, int], ...],
    choices: ExportChoices,
    scaled: tuple[str, ...],
) -> Plan:
    """What the gate compares: the grid over rows of ``sizes`` beside the recipe's own."""
    max_batch = choices.max_batch if subject.dynamic_batch else 1
    return Plan(
        images=images,
        cases=cases_of(samples=len(images), max_batch=max_batch, sizes=sizes),
        options=(DEFAULTS,),
        num_classes=num_classes_of(subject),
        scaled=scaled,
        trained=subject.trained,
    )


def num_classes_of(subject: Subject) -> int:
    """Classes that the head can answer; 0 where labels do not say."""
    if isinstance(subject.head, SegmentationHead) and subject.head.activation != "softmax":
        return 2
    if isinstance(subject.head, ClassificationHead) and not subject.labels:
        return 0
    return len(subject.labels)


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


def _tools() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "torchvision", "onnx", "onnxruntime", "onnxscript", "numpy")}
