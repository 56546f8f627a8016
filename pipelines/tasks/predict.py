"""``predict``: the definition of correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from pipelines.options import PredictOptions
from pipelines.tasks.cascade import CascadePipeline, CascadeSessions, predict_cascade
from pipelines.tasks.pipeline import NO_OPTIONS, Pipeline, predict_one
from pipelines.types import ByteArray, CascadeResult, ModelResult, Result

if TYPE_CHECKING:
    from pipelines.session import Session


@overload
def predict(
    pipeline: Pipeline, session: Session, images: Sequence[ByteArray], options: PredictOptions = ...
) -> list[ModelResult]: ...


@overload
def predict(
    pipeline: CascadePipeline, session: CascadeSessions, images: Sequence[ByteArray], options: PredictOptions = ...
) -> list[CascadeResult]: ...


@overload
def predict(
    pipeline: Pipeline | CascadePipeline,
    session: Session | CascadeSessions,
    images: Sequence[ByteArray],
    options: PredictOptions = ...,
) -> list[Result]: ...


def predict(
    pipeline: Pipeline | CascadePipeline,
    session: Session | CascadeSessions,
    images: Sequence[ByteArray],
    options: PredictOptions = NO_OPTIONS,
) -> Sequence[Result]:
    """Answer each ``(H, W, 3)`` uint8 RGB image with one run of the graph of its own.

    In a cascade the detector runs so, and the objects of all images go through the second model together. This is the
    definition of correct: whatever batches, serves or streams a model must answer the same.

    Raises:
        InvalidRequestError: an option does not act on this model.
        ImageTooLargeError: the image's shape would make too large a row.
        ModelRunError: the graph failed.
        ModelOutputError: the graph answered NaN, infinity or the wrong shape.
        TypeError: a cascade's pipeline without a cascade's sessions, or the other way round.
    """
    pipeline.check(options)
    if isinstance(pipeline, CascadePipeline) and isinstance(session, CascadeSessions):
        return predict_cascade(pipeline, session, images, options)
    if isinstance(pipeline, CascadePipeline) or isinstance(session, CascadeSessions):
        raise TypeError(f"a cascade needs both its sessions, got {type(pipeline).__name__}, {type(session).__name__}")
    return [predict_one(pipeline, session, image, options) for image in images]
