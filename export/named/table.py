"""Which models ``ocella export`` knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from pydantic import ValidationError

from export.named.random_weights import classifier, detector, segmenter
from export.named.weights import with_weights
from export.nets.specs import DetectorName, SegmenterName
from export.nets.torchvision_classifier import classifier_names
from export.subject import Subject
from pipelines.errors import RecipeError
from pipelines.manifest import first_problem

_KINDS: tuple[tuple[tuple[str, ...], Callable[..., Subject]], ...] = (
    (classifier_names(), classifier),
    (get_args(DetectorName), detector),
    (get_args(SegmenterName), segmenter),
)


def names() -> tuple[str, ...]:
    """Every name that :func:`named_subject` takes."""
    return tuple(sorted(name for known, _ in _KINDS for name in known))


def named_subject(name: str, *, weights: Path | None = None, size_hw: tuple[int, int] | None = None) -> Subject:
    """A torchvision model with random weights, or those of a state dict in a file.

    Raises RecipeError for an unknown name, a size that it cannot have, and a file that does not hold its weights.
    """
    for known, make in _KINDS:
        if name in known:
            with torch.random.fork_rng():  # the same random weights each time
                torch.manual_seed(0)
                try:
                    subject = make(name, size_hw=size_hw)
                except ValidationError as error:
                    raise RecipeError(f"{name}: {first_problem(error)}") from error
            return subject if weights is None else with_weights(subject, weights)
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f", did you mean {close[0]!r}" if close else ""
    raise RecipeError(f"no model {name!r}{hint}; a checkpoint must be a file that exists")
