"""What a data set is: labelled image files, each with a typed target, and what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from export.data.class_map import MaskValues, read_class_map
from pipelines.errors import OcellaError
from pipelines.types import AnyArray, BoolArray, FloatArray

Task: TypeAlias = Literal["classification", "detection", "segmentation", "embedding"]
IGNORED = 255
"""The value of a mask's pixels that belong to no class and are not counted (Pascal VOC's border, Cityscapes' void)."""


class DatasetError(OcellaError):
    """A data set cannot be read as asked; the text names the file and what must hold."""


@dataclass(frozen=True)
class ClassTarget:
    """The one class of an image.

    Attributes:
        class_id: index into the data set's labels.
    """

    class_id: int


@dataclass(frozen=True, eq=False)
class BoxesTarget:
    """The objects of an image, in pixels of the image as it is shown (EXIF applied).

    Attributes:
        boxes: ``(N, 4)`` float32 xyxy, inside the image, of an area above 0.
        class_ids: ``(N,)`` int64, indices into the data set's labels.
        crowd: ``(N,)`` bool: a region that holds many objects, or one too hard to judge (Pascal's ``difficult``); what
            is found there is neither right nor wrong.
        areas: ``(N,)`` float32, pixels that an object covers: of its outline where the data set has one, else of its
            box. COCO sorts objects into small, medium and large by it.
    """

    boxes: FloatArray
    class_ids: NDArray[np.int64]
    crowd: BoolArray
    areas: FloatArray

    def __post_init__(self) -> None:
        count = len(self.boxes)
        wanted = (
            ("boxes", self.boxes, np.float32, (count, 4)),
            ("class_ids", self.class_ids, np.int64, (count,)),
            ("crowd", self.crowd, np.bool_, (count,)),
            ("areas", self.areas, np.float32, (count,)),
        )
        for name, array, dtype, shape in wanted:
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}")

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class MaskTarget:
    """A class for every pixel of an image.

    Attributes:
        source: a PNG or TIFF file of one channel or with a palette, or the class map itself, ``(H, W)`` uint8, or what
            paints it when it is asked for.
        values: what the file's values mean: ``classes`` (the value is the class id, 255 is not counted) or
            ``foreground`` (0 is the background, anything above it the one other class: instance masks, 0 and 255).
    """

    source: Path | AnyArray | Callable[[], AnyArray]
    values: MaskValues = "classes"

    def class_map(self) -> AnyArray:
        """The class ids, ``(H, W)`` uint8 with ``IGNORED`` where no class counts; raises DatasetError."""
        if not isinstance(self.source, Path):
            return self.source() if callable(self.source) else self.source
        try:
            return read_class_map(self.source, values=self.values)
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.source}: {error}") from error


@dataclass(frozen=True)
class IdentityTarget:
    """Whom an image shows.

    Attributes:
        identity: index into the data set's labels, which name the people (or things) told apart.
    """

    identity: int


Target: TypeAlias = ClassTarget | BoxesTarget | MaskTarget | IdentityTarget
TASK_OF: dict[type[Target], Task] = {
    ClassTarget: "classification",
    BoxesTarget: "detection",
    MaskTarget: "segmentation",
    IdentityTarget: "embedding",
}


@dataclass(frozen=True, eq=False)
class Sample:
    """One image file and what is right for it.

    Attributes:
        path: of the image.
        target: its type tells the task.
        size_hw: of the image as it is shown (EXIF applied).
        image_id: COCO's number of the image, or ``None``.
    """

    path: Path
    target: Target
    size_hw: tuple[int, int]
    image_id: int | None = None


@dataclass(frozen=True)
class Problem:
    """Something that was left out, or changed, and why.

    Attributes:
        path: the file that it was found in.
        kind: what was left out: an ``image``, one ``box``; or a box was ``clipped`` to its image, which keeps it.
        reason: what must hold and what came.
    """

    path: Path
    kind: Literal["image", "box", "clipped"]
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Samples of one task, in the order of their paths.

    Attributes:
        format: the name of its reader.
        root: the folder or file that was read.
        task: of every sample.
        labels: class names by index (index 0 of a segmentation is the background), or names of identities.
        samples: at least one.
        problems: what was left out.
        category_ids: COCO's number of each label, or empty.
    """

    format: str
    root: Path
    task: Task
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...] = ()
    category_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            more = f"; the first that was skipped: {self.problems[0]}" if self.problems else ""
            raise DatasetError(f"{self.root} must hold at least one image that can be used as {self.format}{more}")
        for sample in self.samples:
            if TASK_OF[type(sample.target)] != self.task:
                raise ValueError(f"targets must be of {self.task}, got {type(sample.target).__name__}")

    def __len__(self) -> int:
        return len(self.samples)

    def counts(self) -> dict[str, int]:
        """Images, or boxes without crowds, by label; empty for masks, whose pixels are not read for it."""
        found: Counter[int] = Counter()
        for sample in self.samples:
            match sample.target:
                case ClassTarget(class_id=index) | IdentityTarget(identity=index):
                    found[index] += 1
                case BoxesTarget(class_ids=class_ids, crowd=crowd):
                    found.update(class_ids[~crowd].tolist())
        return {label: found[i] for i, label in enumerate(self.labels)} if found else {}

    def subset(self, samples: tuple[Sample, ...]) -> Dataset:
        """The same data set with some of its samples: a split."""
        return replace(self, samples=samples)
