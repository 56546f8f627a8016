"""A checkpoint of ``ocella train`` as something to export."""

from __future__ import annotations

from pathlib import Path

from export.package import Sample
from export.subject import Subject
from export.training.checkpoint import load_trained


def trained_subject(path: Path) -> Subject:
    """Load a checkpoint with its recipe, measured metrics and samples, perhaps none; raises RecipeError."""
    trained = load_trained(path)
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
        tolerance=trained.tolerance,
        metrics=dict(trained.metrics),
        sizes=trained.sizes,
    )
