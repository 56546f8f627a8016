"""Which of a head's candidates stay: one function a kind of suppression that compares boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.diou_nms import diou_nms
from pipelines.nms import Indices, batched_nms, best_first
from pipelines.soft_nms import Decay, gaussian_decay, linear_decay, soft_nms
from pipelines.specs import SoftGaussianNms, SoftLinearNms, Suppression
from pipelines.types import FloatArray


class Suppress(Protocol):
    """A pure function of boxes ``(N, 4)``, scores and class ids ``(N,)``; ``spec`` is the model of its own kind.

    Returns the kept indices, best first, ties by lower index, and their scores.
    """

    def __call__(
        self,
        boxes: FloatArray,
        scores: FloatArray,
        class_ids: NDArray[np.int64],
        spec: Any,
        *,
        score_threshold: float,
    ) -> tuple[Indices, FloatArray]:
        """Suppress candidates; a changed score below ``score_threshold`` goes."""
        ...


def _dropping(function: Callable[..., Indices]) -> Suppress:
    """A suppression that keeps or drops boxes and changes no score."""

    def run(
        boxes: FloatArray, scores: FloatArray, class_ids: NDArray[np.int64], spec: Any, *, score_threshold: float
    ) -> tuple[Indices, FloatArray]:
        kept = function(
            boxes,
            scores,
            class_ids,
            iou_threshold=spec.iou_threshold,
            class_agnostic=spec.class_agnostic,
            candidates=spec.candidates,
        )
        return kept, scores[kept]

    return run


def _soft(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    spec: SoftLinearNms | SoftGaussianNms,
    *,
    score_threshold: float,
) -> tuple[Indices, FloatArray]:
    return soft_nms(
        boxes,
        scores,
        class_ids,
        decay=_decay(spec),
        score_threshold=score_threshold,
        class_agnostic=spec.class_agnostic,
        candidates=spec.candidates,
    )


def _decay(spec: SoftLinearNms | SoftGaussianNms) -> Decay:
    return linear_decay(spec.iou_threshold) if isinstance(spec, SoftLinearNms) else gaussian_decay(spec.sigma)


NMS: Mapping[str, Suppress] = MappingProxyType(
    {"hard": _dropping(batched_nms), "diou": _dropping(diou_nms), "soft_linear": _soft, "soft_gaussian": _soft}
)


def suppress(
    boxes: FloatArray,
    scores: FloatArray,
    class_ids: NDArray[np.int64],
    spec: Suppression | None,
    *,
    score_threshold: float,
) -> tuple[Indices, FloatArray]:
    """Indices of the candidates that stay, best first, ties by lower index, and their scores; ``None`` keeps all.

    ``spec`` is of a kind in ``NMS``; ``mask`` compares more than boxes and is ``mask_nms``.
    """
    if spec is None:
        order = best_first(scores)
        return order, scores[order]
    return NMS[spec.kind](boxes, scores, class_ids, spec, score_threshold=score_threshold)
