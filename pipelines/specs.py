"""The recipe part of a manifest: what an image becomes and what the graph's outputs mean."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]
SizeHW: TypeAlias = tuple[Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)]]
Level: TypeAlias = Annotated[int, Field(ge=0, le=255)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
OutputName: TypeAlias = Annotated[str, Field(min_length=1)]
Resample: TypeAlias = Literal[
    "opencv_linear",
    "opencv_area",
    "opencv_cubic",
    "opencv_lanczos4",
    "pil_bilinear",
    "pil_bicubic",
    "pil_lanczos",
    "nearest",
]


class Spec(BaseModel):
    """Base of everything in a manifest: frozen, no unknown keys, no NaN, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


# --- image: fits -----------------------------------------------------------------------------------------------------


class Stretch(Spec):
    """Resize to ``size_hw`` whatever the aspect ratio."""

    kind: Literal["stretch"]
    size_hw: SizeHW


class StretchToMultiple(Spec):
    """Resize both sides to a multiple of ``multiple_of``, near the image's own size.

    First the image is scaled (aspect kept, sides truncated to whole pixels) so that its shorter side is at least
    ``min_shorter``, then so that its longer side is at most ``max_longer``; then each side is rounded by ``rounding``.
    """

    kind: Literal["stretch_to_multiple"]
    multiple_of: Count
    rounding: Literal["ceil", "nearest"]
    min_shorter: Count | None
    max_longer: Count | None


class Letterbox(Spec):
    """Resize with the aspect kept until the image fits ``size_hw``; the rest is ``pad_value``."""

    kind: Literal["letterbox"]
    size_hw: SizeHW
    pad_value: Level
    pad_position: Literal["center", "top_left"]
    scale_up: bool


class CenterCrop(Spec):
    """Resize the shorter side to ``resize_shorter``, cut ``size_hw`` out of the middle.

    ``size_rounding`` is for the longer side (torchvision: floor), ``offset_rounding`` for the crop's corner
    (torchvision: nearest, halves to even).
    """

    kind: Literal["center_crop"]
    size_hw: SizeHW
    resize_shorter: Count
    size_rounding: Literal["floor", "nearest"]
    offset_rounding: Literal["floor", "nearest"]

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if max(self.size_hw) > self.resize_shorter:
            raise ValueError(f"resize_shorter must be at least {max(self.size_hw)}, got {self.resize_shorter}")
        return self


class Pad(Spec):
    """Pad right and bottom with ``pad_value`` to a multiple; scaled down before where longer than ``max_longer``."""

    kind: Literal["pad"]
    multiple_of: Count
    pad_value: Level
    max_longer: Count | None


Fit: TypeAlias = Annotated[Stretch | StretchToMultiple | Letterbox | CenterCrop | Pad, Field(discriminator="kind")]


class ImageSpec(Spec):
    """From a decoded image to the model's row: ``row = (pixels / scale - mean) / std``, per channel.

    Attributes:
        fit: how the image gets its size.
        resample: kernel of every resize.
        color: channel order that the graph expects; ``gray`` is one channel.
        exif: ``apply`` the EXIF orientation or ``ignore`` it.
        alpha: transparent pixels are laid over ``white`` or ``black``, or alpha is ``drop``ped.
        layout: of the graph's input, without the batch axis: ``chw`` or ``hwc``.
        dtype: of the graph's input.
        scale: divisor before mean and std; ``image_max`` is the largest value of the resized image.
        mean: per channel, in the order of ``color``.
        std: per channel, in the order of ``color``.
        in_graph: steps that the graph does itself; with ``normalize`` the row is uint8.
    """

    fit: Fit
    resample: Resample
    color: Literal["rgb", "bgr", "gray"]
    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "black", "drop"]
    layout: Literal["chw", "hwc"]
    dtype: Literal["float32", "float16", "uint8"]
    scale: Positive | Literal["image_max"]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    in_graph: tuple[Literal["normalize"], ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        channels = 1 if self.color == "gray" else 3
        for name in ("mean", "std"):
            if len(getattr(self, name)) != channels:
                raise ValueError(f"{name} must have {channels} values for {self.color}, got {len(getattr(self, name))}")
        if (self.dtype == "uint8") != ("normalize" in self.in_graph):
            raise ValueError("dtype is uint8 if and only if in_graph has 'normalize'")
        if self.in_graph and self.scale == "image_max":
            raise ValueError("scale 'image_max' cannot be in the graph")
        return self


# --- heads -----------------------------------------------------------------------------------------------------------


class ClassificationHead(Spec):
    """``output`` is ``(C,)`` a row; ``activation`` none: it holds probabilities already."""

    task: Literal["classification"]
    output: OutputName
    activation: Literal["softmax", "sigmoid", "none"]
    top_k: Count


class CenterHeatmap(Spec):
    """CenterNet-like maps: ``heatmap (C,h,w)`` probabilities, ``size (2,h,w)``, ``offset (2,h,w)``, ``landmarks (2K,h,w)``.

    Centre = (cell + offset + ``center_shift``) * ``stride``; side = exp(size) * ``stride`` (``size_encoding`` log) or
    size * ``stride`` (linear). Landmark = box corner + value * side. ``axis_order``: which of x, y comes first in
    size, offset and landmarks. ``peak_kernel``: only maxima of a window this wide count; 1 keeps every cell.
    """

    kind: Literal["center_heatmap"]
    heatmap: OutputName
    size: OutputName
    offset: OutputName
    landmarks: OutputName | None
    stride: Count
    center_shift: float
    size_encoding: Literal["log", "linear"]
    axis_order: Literal["xy", "yx"]
    peak_kernel: Literal[1, 3, 5]


class YoloGrid(Spec):
    """Anchor grids of YOLOv2 and YOLOv3: one output a scale; attributes x, y, w, h, objectness, classes.

    ``channel_order``: ``chw`` = ``(A*(5+C), h, w)`` (Darknet), ``hwc`` = ``(h, w, A*(5+C))`` or ``(h, w, A, 5+C)``.
    ``anchors``: per output, ``A`` pairs of width, height in ``anchor_unit``: ``cell`` (YOLOv2) or ``pixel`` (YOLOv3).
    ``objectness`` none: it is a probability already.
    """

    kind: Literal["yolo_grid"]
    outputs: tuple[OutputName, ...] = Field(min_length=1)
    strides: tuple[Count, ...]
    anchors: tuple[tuple[tuple[Positive, Positive], ...], ...]
    anchor_unit: Literal["cell", "pixel"]
    channel_order: Literal["chw", "hwc"]
    class_activation: Literal["softmax", "sigmoid"]
    objectness: Literal["sigmoid", "none"]

    @model_validator(mode="after")
    def _one_scale_each(self) -> Self:
        if not len(self.outputs) == len(self.strides) == len(self.anchors):
            raise ValueError(
                "outputs, strides and anchors must be equally many, "
                f"got {len(self.outputs)}, {len(self.strides)}, {len(self.anchors)}"
            )
        if not all(self.anchors):
            raise ValueError("anchors must hold at least one pair for each output")
        return self


class ProbabilityMap(Spec):
    """Text probability map ``(1,h,w)`` at the row's size (DB, arXiv:1911.08947): contours to rotated boxes.

    Pixels above ``binarize_threshold`` (dilated by 2x2 where ``dilate``) form contours; each becomes its smallest
    rotated rectangle, grown by area * ``unclip_ratio`` / perimeter on every side. Rectangles whose shorter side is
    below ``min_side`` row pixels (``min_side`` + 2 once grown) are dropped.
    """

    kind: Literal["probability_map"]
    output: OutputName
    binarize_threshold: Probability
    dilate: bool
    unclip_ratio: Positive
    min_side: Count
    max_candidates: Count


Decoder: TypeAlias = Annotated[CenterHeatmap | YoloGrid | ProbabilityMap, Field(discriminator="kind")]


class Nms(Spec):
    """Greedy non-maximum suppression: a box goes when its IoU with a better one is above ``iou_threshold``.

    ``candidates`` best boxes enter; ``class_agnostic`` lets classes suppress each other.
    """

    iou_threshold: Probability
    class_agnostic: bool
    candidates: Count


class DetectionHead(Spec):
    """``decoder`` turns raw outputs into candidates at or above ``score_threshold``; ``nms`` null: all are kept."""

    task: Literal["detection"]
    decoder: Decoder
    score_threshold: Probability
    nms: Nms | None
    max_detections: Count


class SegmentationHead(Spec):
    """``output`` is ``(C,h,w)`` a row at the row's aspect.

    ``softmax``: C classes, index 0 the background. ``sigmoid``, ``minmax`` (stretched to 0..1 by the row's own extremes)
    and ``none`` need C = 1: foreground probability; a pixel is foreground at ``threshold`` or more.
    ``mask_resample`` brings probabilities back to the original size.
    """

    task: Literal["segmentation"]
    output: OutputName
    activation: Literal["softmax", "sigmoid", "minmax", "none"]
    threshold: Probability
    mask_resample: Resample


class EmbeddingHead(Spec):
    """``output`` is ``(dim,)`` a row; ``normalize`` divides it by its L2 norm."""

    task: Literal["embedding"]
    output: OutputName
    dim: Count
    normalize: bool


Head: TypeAlias = Annotated[
    ClassificationHead | DetectionHead | SegmentationHead | EmbeddingHead, Field(discriminator="task")
]


class TensorSpec(Spec):
    """A graph input or output: ONNX name, numpy dtype name, shape with a string for each dynamic dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
