"""A torch model together with how it is fed and read: what training, export and the gate are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from export.subject import Sizes
from export.tolerance import golden_tolerance
from pipelines.manifest import GoldenTolerance, RawTolerance
from pipelines.specs import Fit, Head, ImageSpec, Resample
from pipelines.statistics import statistics_for

INPUT = "pixels"
OWN_SIZE = Sizes()
# Outputs below 20 after at most some 30 layers, each summed in another order than torch's.
SHALLOW = golden_tolerance(
    reason="same network in float32: probabilities within 0.002, boxes and masks within 2 % of their overlap",
    cpu=RawTolerance(rtol=1e-3, atol=5e-4),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Architecture:
    """A module and its recipe.

    Attributes:
        module: in eval mode, rows ``(N, C, H, W)`` float32 to one tensor, or a tuple of them in the order of
            ``head.output_names``, each with the batch axis first: raw outputs, as the head's decoder reads them.
        image: how an image becomes a row.
        head: what the outputs mean.
        sizes: rows of other sizes that the module takes.
        tolerance: how far an export may be from the module, and why.
    """

    module: nn.Module
    image: ImageSpec
    head: Head
    sizes: Sizes = OWN_SIZE
    tolerance: GoldenTolerance = SHALLOW


def image_spec(fit: Fit, *, resample: Resample, statistics: str, color: Literal["rgb", "gray"] = "rgb") -> ImageSpec:
    """The image part of a recipe in float32 planes; ``statistics`` by name."""
    scale, mean, std = statistics_for(statistics, color)
    return ImageSpec(
        fit=fit,
        resample=resample,
        color=color,
        exif="apply",
        alpha="white",
        layout="chw",
        dtype="float32",
        scale=scale,
        mean=mean,
        std=std,
        in_graph=(),
    )
