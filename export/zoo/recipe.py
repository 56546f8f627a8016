"""What a zoo recipe is: pinned files, how they become a graph, and how that graph is fed and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.manifest import GoldenOptions, GoldenTolerance, RawTolerance
from pipelines.specs import Head, ImageSpec

if TYPE_CHECKING:
    import onnx

    from pipelines.session import Session

DEFAULTS = GoldenOptions(score_threshold=None, iou_threshold=None)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of a published wheel; wheels differ by platform, so the file itself is pinned.

    Attributes:
        key: what the recipe calls it.
        wheel: ``name==version``.
        path: inside the wheel.
        size: bytes.
        sha256: hexadecimal.
    """

    key: str
    wheel: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, eq=False, kw_only=True)
class BuiltGraph:
    """A graph ready to be packaged.

    Attributes:
        model: the graph.
        labels: class names by index, or empty.
        original: opens a session on the graph or module as it was published, to prove that nothing changed.
        original_tolerance: how far that session may differ.
        tools: versions by tool, beyond onnx and onnxruntime.
        rewrites: rewrites by graph pass.
    """

    model: onnx.ModelProto
    labels: tuple[str, ...]
    original: Callable[[], Session]
    original_tolerance: RawTolerance
    tools: Mapping[str, str]
    rewrites: Mapping[str, int]


@dataclass(frozen=True, eq=False, kw_only=True)
class ZooRecipe:
    """A pretrained model that ``ocella zoo pull`` makes a package of.

    Attributes:
        name: of the model and its folder.
        version: of the package; goes up when anything here changes.
        description: one line.
        license: SPDX identifier of graph and weights.
        source: the project that publishes them.
        members: the pinned files.
        image: how the published project feeds the graph.
        head: how it reads the outputs.
        reference: whose golden results: ``upstream`` records are committed, ``torch`` ones are made by the build.
        samples: names of the sample images in ``export/zoo/golden/<name>``.
        options: each sample is decoded once with each.
        tolerance: of the golden comparison.
        extra: what must be installed: ``import`` (onnx) or ``export`` (torch too).
        build: makes the graph of the extracted members, by key.
    """

    name: str
    version: int
    description: str
    license: str
    source: str
    members: tuple[Member, ...]
    image: ImageSpec
    head: Head
    reference: Literal["torch", "upstream"]
    samples: tuple[str, ...]
    options: tuple[GoldenOptions, ...]
    tolerance: GoldenTolerance
    extra: Literal["import", "export"]
    build: Callable[[Mapping[str, Path]], BuiltGraph]

    @property
    def task(self) -> str:
        """The task of the head."""
        return self.head.task
