"""The grid that an export is proven over: batches, row sizes, optimisation levels and threads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.geometry import Affine
from pipelines.manifest import ModelManifest
from pipelines.session import Optimization, SessionOptions
from pipelines.specs import ImageSpec, Stretch
from pipelines.tasks import Pipeline, build_pipeline
from pipelines.types import AnyArray, ByteArray


@dataclass(frozen=True)
class Case:
    """One batch of rows, made of one sample image.

    Attributes:
        sample: index of the image.
        batch: rows; beside the image itself its shifted and mirrored variants.
        size_hw: rows of this size (the image is stretched to it); ``None``: by the manifest's own fit.
    """

    sample: int
    batch: int
    size_hw: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """The case in words."""
        return f"sample {self.sample}, batch {self.batch}, {size_text(self.size_hw)}"

    def to_json(self) -> dict[str, Any]:
        """The case as JSON, read back by :func:`case_from_json`."""
        return {"sample": self.sample, "batch": self.batch, "size_hw": self.size_hw and list(self.size_hw)}


def size_text(size_hw: tuple[int, int] | None) -> str:
    """The size of a case's rows in words."""
    return "own size" if size_hw is None else f"{size_hw[0]}x{size_hw[1]}"


def case_from_json(raw: dict[str, Any]) -> Case:
    """Read a case; raises KeyError, TypeError or ValueError where it is none."""
    size = raw["size_hw"]
    return Case(int(raw["sample"]), int(raw["batch"]), None if size is None else (int(size[0]), int(size[1])))


@dataclass(frozen=True)
class Runtime:
    """One way of running a graph in onnxruntime."""

    optimization: Optimization
    threads: int

    @property
    def label(self) -> str:
        """The runtime in words."""
        return f"optimisation {self.optimization}, {self.threads} thread{'s' if self.threads > 1 else ''}"

    def options(self, provider: str) -> SessionOptions:
        """Session options on an execution provider."""
        return SessionOptions(providers=(provider,), intra_op_threads=self.threads, optimization=self.optimization)


# As it is served first: where that fails, nothing else matters.
_LEVELS: tuple[Optimization, ...] = ("all", "basic", "off")
RUNTIMES = tuple(Runtime(level, threads) for level, threads in itertools.product(_LEVELS, (1, 2)))


@dataclass(frozen=True, eq=False)
class CaseInput:
    """A case, ready to run.

    Attributes:
        pipeline: what makes rows of this size and reads their outputs.
        batch: ``(B, ...)`` rows.
        affines: placement of each row.
    """

    pipeline: Pipeline
    batch: AnyArray
    affines: tuple[Affine, ...]


def case_input(manifest: ModelManifest, images: Sequence[ByteArray], case: Case) -> CaseInput:
    """Make the rows of a case by the manifest's recipe, from ``(H, W, 3)`` uint8 RGB images."""
    image = manifest.image if case.size_hw is None else _at_size(manifest.image, case.size_hw)
    pipeline = build_pipeline(manifest.model_copy(update={"image": image}))
    prepared = [pipeline.preprocess(one) for one in variants(images[case.sample], case.batch)]
    return CaseInput(pipeline, np.stack([row for row, _ in prepared]), tuple(affine for _, affine in prepared))


def variants(image: ByteArray, count: int) -> list[ByteArray]:
    """``count`` images of one: as it is, then shifted around its edges and mirrored in turn; exact on every machine."""
    height, width = image.shape[:2]
    shifted = [np.roll(image, (i * height // count, i * width // count), axis=(0, 1)) for i in range(count)]
    return [np.ascontiguousarray(one[:, ::-1] if i % 2 else one) for i, one in enumerate(shifted)]


def _at_size(image: ImageSpec, size_hw: tuple[int, int]) -> ImageSpec:
    return image.model_copy(update={"fit": Stretch(kind="stretch", size_hw=size_hw)})
