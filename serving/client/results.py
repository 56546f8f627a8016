"""What the clients take and give back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

from pipelines.types import ByteArray, Result

Image: TypeAlias = bytes | str | Path | ByteArray
MaskFormat: TypeAlias = Literal["png", "rle", "polygon"]
WhenFull: TypeAlias = Literal["block", "drop_oldest"]


class Options(TypedDict, total=False):
    """What a request changes; left out or ``None`` means the model's own value.

    Attributes:
        score_threshold: least score of a detection or of one of many labels, or least foreground probability of a
            pixel; 0 to 1.
        iou_threshold: of non-maximum suppression; 0 to 1.
        max_detections: most detections to return.
        top_k: most classes to return.
        mask_format: how masks travel, of a segmentation or of objects; all are exact, ``rle`` and ``polygon`` carry no
            alpha.
        timings: ask for the seconds of each stage.
    """

    score_threshold: float | None
    iou_threshold: float | None
    max_detections: int | None
    top_k: int | None
    mask_format: MaskFormat | None
    timings: bool


@dataclass(frozen=True)
class Timings:
    """Seconds of each stage inside the server."""

    decode_s: float
    preprocess_s: float
    queue_s: float
    inference_s: float
    postprocess_s: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """The answer for one image.

    Attributes:
        result: by the model's task.
        model: name of the model that answered.
        version: of the model that answered.
        image_hw: size of the image after its EXIF orientation.
        timings: where they were asked for.
        id: that the caller gave the request; empty where it gave none, and in streams.
    """

    result: Result
    model: str
    version: int
    image_hw: tuple[int, int]
    timings: Timings | None = None
    id: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class TilePrediction(Prediction):
    """The answer for one tile of an image, or for all of them together.

    Attributes:
        result: in pixels of the whole image; a tile's segmentation is a map of its window.
        image_hw: of the whole image.
        timings: where they were asked for; those of the merged answer are sums over the tiles.
        index: of the tile, row by row, the whole image last where it is one; ``count`` for the merged answer.
        count: of the tiles.
        window: left, top, right, bottom that the answer is of; the last two exclusive.
        merged: whether it is the answer of all tiles together, which comes last.
    """

    index: int
    count: int
    window: tuple[int, int, int, int]
    merged: bool


@dataclass(frozen=True)
class ModelStatus:
    """One model version that a server knows; ``reason`` says why it is not ready."""

    name: str
    version: int
    task: str
    ready: bool
    reason: str


@dataclass(frozen=True)
class ModelDescription:
    """What a model version is and how it is run; ``golden`` is what its replay at load proved."""

    model: str
    version: int
    manifest_json: str
    provider: str
    max_batch: int
    golden: str
