"""The Pipeline protocol, the half that all tasks share, and one image's way through a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from pipelines import preprocess as pixels
from pipelines.geometry import Affine
from pipelines.image import ImageLimits, decode_image
from pipelines.manifest import ModelManifest
from pipelines.options import PredictOptions
from pipelines.outputs import require_labels
from pipelines.specs import ClassificationHead, DetectionHead, EmbeddingHead, SegmentationHead
from pipelines.types import AnyArray, ByteArray, ModelResult

if TYPE_CHECKING:
    from pipelines.session import Session

NO_OPTIONS = PredictOptions()
HeadT = TypeVar("HeadT", ClassificationHead, DetectionHead, EmbeddingHead, SegmentationHead)


class Pipeline(Protocol):
    """Everything around the graph for one model; holds no state beside its manifest, so any thread may call it."""

    @property
    def manifest(self) -> ModelManifest:
        """What the pipeline was built from."""
        ...

    @property
    def has_masks(self) -> bool:
        """Whether its results hold masks: of classes, or of objects."""
        ...

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act on this model."""
        ...

    def decode(self, data: bytes, limits: ImageLimits) -> ByteArray:
        """Decode an encoded image to ``(H, W, 3)`` uint8 RGB. Raises ImageDecodeError, ImageTooLargeError."""
        ...

    def row_shape(self, image_hw: tuple[int, int]) -> tuple[int, ...]:
        """Shape of the row of an image of ``image_hw``, without batch axis. Raises ImageTooLargeError."""
        ...

    def preprocess(self, image: ByteArray, out: AnyArray | None = None) -> tuple[AnyArray, Affine]:
        """Turn ``(H, W, 3)`` uint8 RGB into the row (written into ``out`` where given) and its placement."""
        ...

    def postprocess(self, outputs: Mapping[str, AnyArray], affine: Affine, options: PredictOptions) -> ModelResult:
        """Turn the outputs of one row, without batch axis, into a result; they are not written into, nor kept.

        Raises:
            InvalidRequestError: an option does not act on this model.
            ModelOutputError: an output is missing, has the wrong shape, or holds NaN or infinity.
        """
        ...


class ImageFront:
    """The half of a pipeline before the graph, the same for every task."""

    def __init__(self, manifest: ModelManifest) -> None:
        self.manifest = manifest

    @property
    def has_masks(self) -> bool:
        """Whether its results hold masks: of classes, or of objects."""
        return self.manifest.head.has_masks

    def check(self, options: PredictOptions) -> None:
        """Raise InvalidRequestError where an option does not act on this model."""
        options.check_for(self.manifest.head.task)

    def decode(self, data: bytes, limits: ImageLimits) -> ByteArray:
        """Decode an encoded image to ``(H, W, 3)`` uint8 RGB by the manifest's EXIF and alpha policy."""
        spec = self.manifest.image
        return decode_image(data, exif=spec.exif, alpha=spec.alpha, limits=limits)

    def row_shape(self, image_hw: tuple[int, int]) -> tuple[int, ...]:
        """Shape of the row of an image of ``image_hw``, without batch axis."""
        return pixels.row_shape(self.manifest.image, image_hw)

    def preprocess(self, image: ByteArray, out: AnyArray | None = None) -> tuple[AnyArray, Affine]:
        """Turn ``(H, W, 3)`` uint8 RGB into the row (written into ``out`` where given) and its placement."""
        return pixels.preprocess(image, self.manifest.image, out)


def head_of(manifest: ModelManifest, kind: type[HeadT]) -> HeadT:
    """Return the manifest's head; raises ValueError where it is of another task."""
    if not isinstance(manifest.head, kind):
        raise ValueError(f"head must be a {kind.__name__}, got {type(manifest.head).__name__}")
    return manifest.head


def class_labels(labels: Sequence[str], class_ids: AnyArray, num_classes: int) -> tuple[str, ...]:
    """Names of ``(K,)`` classes, or empty where there are none; raises ModelOutputError where the numbers differ."""
    require_labels(labels, num_classes)
    return tuple(labels[i] for i in class_ids.tolist()) if labels else ()


def predict_one(pipeline: Pipeline, session: Session, image: ByteArray, options: PredictOptions) -> ModelResult:
    """Answer one ``(H, W, 3)`` uint8 RGB image with a run of its own; raises as ``tasks.predict``."""
    from pipelines.session import run_one  # postprocessing alone must not load onnxruntime.

    row, affine = pipeline.preprocess(image)
    return pipeline.postprocess(run_one(session, row), affine, options)
