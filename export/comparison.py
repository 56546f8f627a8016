"""What a graph is compared with: the torch module behind its recipe, over which rows, random weights scaled."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch

from export.draft import INPUT, ExportChoices, channels_of
from export.gate.grid import cases_of
from export.gate.run import Plan, Reference
from export.gate.scaling import scale_last_layers, settle_batch_norm
from export.package import PackageDraft, draft_manifest
from export.subject import DEFAULTS, Subject
from export.torch_session import TorchSession
from pipelines.grid import case_input
from pipelines.image import ImageLimits, decode_image
from pipelines.manifest import ModelManifest
from pipelines.specs import ClassificationHead, SegmentationHead, TensorSpec
from pipelines.types import ByteArray

_SCALING_BATCH = 4


def decoded_samples(subject: Subject) -> list[ByteArray]:
    """The samples as ``(H, W, 3)`` uint8 RGB."""
    spec = subject.image
    return [decode_image(one.image, exif=spec.exif, alpha=spec.alpha, limits=ImageLimits()) for one in subject.samples]


def reference_of(subject: Subject, draft: PackageDraft) -> Reference:
    """The module behind its own recipe, not the package's: baking must not change what is compared with."""
    inputs = (
        TensorSpec(name=INPUT, dtype=subject.image.dtype, shape=("batch", channels_of(subject), "height", "width")),
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
    batches = scaling_batches(subject, manifest, images, sizes)
    settle_batch_norm(subject.module, batches)
    return scale_last_layers(subject.module, batches, subject.scaling)


def scaling_batches(
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
