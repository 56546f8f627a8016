"""Answering images with a torch module through the pipeline that will serve it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn

from export.nets import INPUT
from export.package import PackageDraft, draft_manifest
from export.subject import DEFAULTS
from export.tolerance import golden_tolerance
from pipelines.geometry import Affine
from pipelines.manifest import Provenance
from pipelines.options import PredictOptions
from pipelines.specs import Head, ImageSpec, TensorSpec
from pipelines.tasks import Pipeline, build_pipeline
from pipelines.types import AnyArray, ByteArray, Result

NO_OPTIONS = PredictOptions()


def pipeline_for(image: ImageSpec, head: Head, labels: tuple[str, ...]) -> Pipeline:
    """The pipeline that a package of this recipe will have; its manifest is never written."""
    channels = len(image.mean)
    draft = PackageDraft(
        name="training",
        version=1,
        description="",
        license="",
        source="",
        image=image,
        head=head,
        labels=labels,
        provenance=Provenance(tools={}, opset=1, metrics={}, parity=None),
        reference="torch",
        recorded_with={},
        options=(DEFAULTS,),
        tolerance=golden_tolerance(reason="nothing is recorded while a model trains"),
    )
    row = TensorSpec(name=INPUT, dtype=image.dtype, shape=("batch", channels, "height", "width"))
    outputs = tuple(TensorSpec(name=name, dtype="float32", shape=("batch",)) for name in head.output_names)
    return build_pipeline(draft_manifest(draft, (row,), outputs))


def answer_images(
    module: nn.Module,
    pipeline: Pipeline,
    images: Iterable[ByteArray],
    *,
    options: PredictOptions = NO_OPTIONS,
    batch_size: int,
) -> Iterator[Result]:
    """Answer ``(H, W, 3)`` uint8 RGB images in order, rows of one shape run together.

    ``module`` is in eval mode; its parameters say on which device it runs. Gradients are not recorded.
    """
    waiting: list[tuple[AnyArray, Affine]] = []
    for image in images:
        row = pipeline.preprocess(image)
        if waiting and (len(waiting) == batch_size or row[0].shape != waiting[0][0].shape):
            yield from _run(module, pipeline, waiting, options)
            waiting = []
        waiting.append(row)
    if waiting:
        yield from _run(module, pipeline, waiting, options)


@torch.no_grad()
def _run(
    module: nn.Module, pipeline: Pipeline, waiting: list[tuple[AnyArray, Affine]], options: PredictOptions
) -> list[Result]:
    device = next(module.parameters()).device
    batch = torch.from_numpy(np.stack([row for row, _ in waiting])).to(device)
    answer = module(batch)
    values = (answer,) if isinstance(answer, torch.Tensor) else tuple(answer)
    names = pipeline.manifest.head.output_names
    arrays = {name: value.float().cpu().numpy() for name, value in zip(names, values, strict=True)}
    return [
        pipeline.postprocess({name: array[i] for name, array in arrays.items()}, affine, options)
        for i, (_, affine) in enumerate(waiting)
    ]
