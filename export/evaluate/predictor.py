"""What evaluation asks of a model, wherever it runs, and the options that it is asked with."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from pipelines.manifest import Manifest, ModelManifest
from pipelines.options import PredictOptions
from pipelines.specs import ClassificationHead
from pipelines.types import ByteArray, Result

TOP_K = 5


class Predictor(Protocol):
    """One model that answers for encoded images; any thread may call it."""

    def answer(self, data: bytes, /) -> Result:
        """Answer one image file; raises ImageDecodeError or ImageTooLargeError for a bad one."""
        ...

    def decode(self, data: bytes, /) -> ByteArray:
        """The pixels that the answer refers to: ``(H, W, 3)`` uint8 RGB."""
        ...


class Models(Protocol):
    """Packages in folders and models on servers, behind one face."""

    def manifest(self, model: str, *, server: str | None) -> Manifest:
        """The manifest of a package folder, or of a ready model on ``server``."""
        ...

    def open(self, model: str, *, server: str | None, options: PredictOptions) -> AbstractContextManager[Predictor]:
        """Open it with options that apply to it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a model is measured.

    Attributes:
        score_threshold: least score of a detection. Average precision needs the whole curve: the field measures from
            0.001 on, far below the threshold that a model is used with.
        iou_threshold: of the model's own suppression; ``None``: the manifest's.
        max_detections: best of an image; COCO's value is 100, crowded scenes are measured with 300.
        fars: false accept rates of a verification.
        num_worst: worst images of the report.
        seed: of resampling.
    """

    score_threshold: float = 0.001
    iou_threshold: float | None = None
    max_detections: int = 100
    fars: tuple[float, ...] = (1e-1, 1e-2, 1e-3)
    num_worst: int = 12
    seed: int = 0


def predict_options(manifest: ModelManifest, settings: Settings) -> PredictOptions:
    """The options of every image: the five best of a classifier, a detector's whole curve."""
    head = manifest.head
    if head.task == "detection":
        return PredictOptions(
            score_threshold=settings.score_threshold,
            iou_threshold=settings.iou_threshold,
            max_detections=settings.max_detections,
        )
    if isinstance(head, ClassificationHead):
        # A threshold of the model's own would hide answers, and with them what was second.
        return PredictOptions(top_k=TOP_K, score_threshold=None if head.score_threshold is None else 0.0)
    return PredictOptions()
