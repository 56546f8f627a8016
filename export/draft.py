"""What is chosen of an export, and what its manifest says before the gate has spoken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.package import PackageDraft
from export.passes.bake_input import baked_spec
from export.passes.nms_in_graph import suppressing_head
from export.subject import DEFAULTS, Subject
from export.tolerance import float16_tolerance
from export.trace import EXPORTERS, OPSET
from pipelines.errors import RecipeError
from pipelines.manifest import Provenance
from pipelines.session import ONNXRUNTIME_VERSION
from pipelines.specs import DetectionHead, Head

INPUT = "pixels"


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


def draft_of(subject: Subject, choices: ExportChoices) -> PackageDraft:
    """What the manifest says before the gate has spoken; raises RecipeError for a choice without effect."""
    tools = _tools()
    head: Head = subject.head
    if choices.nms_in_graph:
        if not isinstance(head, DetectionHead):
            raise RecipeError(f"--nms graph has no effect on {head.task}: it is for detection")
        head = suppressing_head(head, num_classes=len(subject.labels))
    return PackageDraft(
        name=subject.name,
        version=subject.version,
        description=subject.description,
        license=subject.license,
        source=subject.source,
        image=baked_spec(subject.image) if bakes(subject, choices) else subject.image,
        head=head,
        labels=subject.labels,
        provenance=Provenance(tools=tools, opset=OPSET, metrics=dict(subject.metrics), parity=None),
        reference="torch",
        recorded_with=tools,
        options=(DEFAULTS,),
        tolerance=float16_tolerance(subject.tolerance) if choices.precision == "fp16" else subject.tolerance,
    )


def bakes(subject: Subject, choices: ExportChoices) -> bool:
    """Whether normalisation and layout go into the graph."""
    return choices.pixels == "uint8" and subject.image.dtype == "float32" and subject.image.scale != "image_max"


def channels_of(subject: Subject) -> int:
    """Colour channels of a row."""
    return 1 if subject.image.color == "gray" else 3


def _tools() -> dict[str, str]:
    from importlib.metadata import version

    # onnxruntime's own word: on a GPU its distribution has another name.
    tools = {name: version(name) for name in ("torch", "torchvision", "onnx", "onnxscript", "numpy")}
    return {**tools, "onnxruntime": ONNXRUNTIME_VERSION}
