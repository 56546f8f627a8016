"""A proven export becomes a package: graph, recipe, golden samples by torch, and what the gate said and expected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from export.draft import INPUT
from export.exporters import Exported
from export.gate.table import as_text
from export.package import npz_bytes, write_package
from export.subject import Subject
from export.suppressed_session import SuppressedSession
from export.torch_input import NormalizedInput
from export.torch_session import TorchSession
from pipelines.gate_replay import GATE_RECORD, GATE_TEXT, PARITY_KEY, record_case
from pipelines.manifest import ModelManifest
from pipelines.session import Session
from pipelines.specs import DetectionHead, TensorSpec
from pipelines.types import AnyArray


def package_export(
    exported: Exported, subject: Subject, folder: Path, *, replace_folder: bool = False
) -> ModelManifest:
    """Write the package of an export that passed; raises RecipeError where none did, so that no package appears."""
    graph = exported.graph
    parity = parity_of(exported)
    draft = replace(exported.draft, provenance=exported.draft.provenance.model_copy(update={"parity": parity}))
    return write_package(
        folder,
        draft,
        graph=graph,
        samples=subject.samples,
        reference=lambda: golden_session(exported, subject),
        extra={
            GATE_TEXT: "".join(as_text(report) for report in exported.reports).encode(),
            GATE_RECORD: npz_bytes(gate_record(exported)),
        },
        replace=replace_folder,
    )


def parity_of(exported: Exported) -> dict[str, Any]:
    """``provenance.parity``: the gate's report by case, the attempts before it, the grid to repeat, the rewrites."""
    return {
        PARITY_KEY: {
            **exported.reports[-1].summary(),
            "attempts": [report.sentence for report in exported.reports[:-1]],
            "grid": [case.to_json() for case in exported.plan.cases],
        },
        "rewrites": dict(exported.rewrites),
    }


def gate_record(exported: Exported) -> dict[str, AnyArray]:
    """What ``ocella verify`` is given of each case: a sample of its raw values, the decoded result of a batch of 1."""
    record: dict[str, AnyArray] = {}
    for i, (case, truth) in enumerate(zip(exported.plan.cases, exported.expected, strict=True)):
        record |= record_case(i, truth.outputs, truth.results[0][0] if case.batch == 1 else None)
    return record


def golden_session(exported: Exported, subject: Subject) -> Session:
    """The module behind the package's own rows and outputs: normalised before it, suppressed after it, as they are."""
    image = exported.draft.image
    baked = bool(image.in_graph)
    module = NormalizedInput(subject.module, subject.image, hwc=image.layout == "hwc") if baked else subject.module
    inputs = (TensorSpec(name=INPUT, dtype=image.dtype, shape=("batch", "?", "?", "?")),)
    outputs = tuple(TensorSpec(name=name, dtype="float32", shape=("batch", "?")) for name in subject.output_names)
    session = TorchSession(module, inputs=inputs, outputs=outputs)
    if exported.draft.head == subject.head or not isinstance(subject.head, DetectionHead):
        return session
    row_hw = subject.row_hw((1, 1))  # suppression in a graph is for fits of one size
    return SuppressedSession(session, subject.head, row_hw=row_hw)
