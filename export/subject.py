"""What is exported: a torch module together with the recipe by which its rows are made and its outputs are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from export.package import Sample
from pipelines.geometry import place
from pipelines.manifest import GoldenOptions, GoldenTolerance, Metric
from pipelines.specs import Head, ImageSpec

DEFAULTS = GoldenOptions(score_threshold=None, iou_threshold=None)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sizes:
    """Which rows a module takes beside those of its own recipe.

    Attributes:
        multiple_of: of both sides; ``None``: its own size alone.
        least: shortest side that works.
    """

    multiple_of: int | None = None
    least: int = 32


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How the last layers of random weights are scaled so that something is found.

    Attributes:
        layers: convolutions or linear layers that make the class scores, by their names in the module.
        sides: layers that make distances to the sides of a box, after a ReLU: of a new network half of them are 0, and
            such boxes have no area.
        confident: values a row that shall be above ``level``; ``None``: as they fall.
        level: logit that a confident value has.
        balanced: the layers are convolutions whose sum makes maps ``(N, C, h, w)``, in which each class shall win as
            many pixels; see ``export.gate.balancing``.
        background: columns of the scores and the one that is no class, which is raised; ``None``: all are classes.
    """

    layers: tuple[str, ...]
    sides: tuple[str, ...] = ()
    confident: int | None = None
    level: float = 0.0
    balanced: bool = False
    background: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A module to export, in float32.

    Attributes:
        name: of the model.
        version: of the package.
        description: one line.
        license: of graph and weights.
        source: where they come from.
        module: takes one normalised batch and answers the outputs of ``head`` in the order of ``output_names``.
        image: how a row is made.
        head: what the outputs mean.
        labels: class names by index, or empty.
        samples: one to four images; they become the golden samples.
        tolerance: how far the export may be from the module, and why.
        metrics: measured figures by name.
        sizes: rows of other sizes that the module takes.
        dynamic_batch: whether torch can export it for any number of rows.
        scaling: how the last layers are scaled where the weights are random; ``None``: the weights were learnt.
        note: what its export leaves out, or empty.
    """

    name: str
    version: int = 1
    description: str
    license: str
    source: str
    module: nn.Module
    image: ImageSpec
    head: Head
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    tolerance: GoldenTolerance
    metrics: Mapping[str, Metric]
    sizes: Sizes
    dynamic_batch: bool = True
    scaling: Scaling | None = None
    note: str = ""

    @property
    def trained(self) -> bool:
        """Whether the weights were learnt."""
        return self.scaling is None

    @property
    def output_names(self) -> tuple[str, ...]:
        """The graph's outputs."""
        return self.head.output_names

    def row_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the row of an image."""
        height, width = place(self.image.fit, image_hw).dst_hw
        return height, width
