"""Which models ``ocella export`` knows by name, and their weights from a file."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from export.named.random_weights import classifier, detector, segmenter
from export.nets.specs import DetectorName, SegmenterName
from export.nets.torchvision_classifier import classifier_names
from export.subject import Subject
from export.training.checkpoint import read_tensors
from pipelines.errors import RecipeError

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

    Raises RecipeError for an unknown name and for a file that does not hold this model's weights.
    """
    for known, make in _KINDS:
        if name in known:
            with torch.random.fork_rng():  # the same random weights each time
                torch.manual_seed(0)
                subject = make(name, size_hw=size_hw)
            return subject if weights is None else _with_weights(subject, weights)
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f", did you mean {close[0]!r}" if close else ""
    raise RecipeError(f"no model {name!r}{hint}; a checkpoint must be a file that exists")


def _with_weights(subject: Subject, path: Path) -> Subject:
    """Load strictly; raises RecipeError where the file holds no tensors, or not this model's."""
    state = read_tensors(path)
    module = subject.module.net
    assert isinstance(module, nn.Module), "torchvision's model is the net of ours"
    try:
        module.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise RecipeError(
            f"{path} does not hold the weights of {subject.name}: {' '.join(str(error).split())[:300]}"
        ) from error
    return replace(subject, scaling=None, source=f"{subject.source}, weights of {path.name}")
