"""A checkpoint of ``ocella train`` as something to export."""

from __future__ import annotations

from pathlib import Path

from export.package import Sample
from export.subject import Sizes, Subject
from export.tolerance import golden_tolerance
from export.training.checkpoint import load_trained
from pipelines.manifest import RawTolerance
from pipelines.specs import DetectionHead, Fit, Pad, SegmentationHead, StretchToMultiple

# Our detectors and segmenters halve their maps up to five times; whether one takes other sizes at all is tried.
_MULTIPLE = 32


def trained_subject(path: Path) -> Subject:
    """Load a checkpoint with its recipe, measured metrics and samples, perhaps none; raises RecipeError."""
    trained = load_trained(path)
    maps = isinstance(trained.head_spec, DetectionHead | SegmentationHead)
    return Subject(
        name=trained.name,
        description=trained.description,
        license=trained.license,
        source=trained.source,
        module=trained.module.eval(),
        image=trained.image_spec,
        head=trained.head_spec,
        labels=tuple(trained.labels),
        samples=tuple(Sample(name, data) for name, data in sorted(trained.samples.items())),
        tolerance=golden_tolerance(
            reason="same network in float32: probabilities within 0.002, boxes and masks within 2 % of their overlap",
            # Outputs below 20 after at most some 30 layers, each summed in another order than torch's.
            cpu=RawTolerance(rtol=1e-3, atol=5e-4),
        ),
        metrics=dict(trained.metrics),
        sizes=Sizes(multiple_of=_multiple(trained.image_spec.fit), least=64) if maps else Sizes(),
    )


def _multiple(fit: Fit) -> int:
    """Of which both sides of a row are multiples: what the recipe makes them, so that its own rows are among them."""
    return fit.multiple_of if isinstance(fit, Pad | StretchToMultiple) else _MULTIPLE
