"""From a decoded image to the model's row: the fits and ``ImageSpec``."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.base import Count, Level, Positive, Resample, SizeHW, Spec


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
    """Resize with the aspect kept until the image fits ``size_hw``; the rest is ``pad_value``.

    ``size_rounding`` is for the resized sides: ``nearest`` (halves to even; Ultralytics, Pillow) or ``floor`` (YOLOX,
    Darknet). ``pad_position`` is where the image lies in the row. ``pad_rounding`` is for the padding before a centred
    image, half of what is spare: ``floor`` leaves an odd pixel behind it, which is Ultralytics' rule of ±0.1,
    ``round(spare / 2 - 0.1)`` before and ``round(spare / 2 + 0.1)`` behind; ``nearest`` takes halves to even, as
    Pillow's ``ImageOps.pad``. At ``top_left`` there is no padding before the image, so its rounding is null.
    """

    kind: Literal["letterbox"]
    size_hw: SizeHW
    size_rounding: Literal["nearest", "floor"]
    pad_value: Level
    pad_position: Literal["center", "top_left"]
    pad_rounding: Literal["floor", "nearest"] | None
    scale_up: bool

    @model_validator(mode="after")
    def _rounds_what_it_pads(self) -> Self:
        if (self.pad_rounding is None) != (self.pad_position == "top_left"):
            raise ValueError(
                f"pad_rounding is null if and only if pad_position is top_left, got {self.pad_rounding} "
                f"at {self.pad_position}"
            )
        return self


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


class NoFit(Spec):
    """The image keeps its size; a graph of fixed height and width takes images of that size alone."""

    kind: Literal["none"]


Fit: TypeAlias = Annotated[
    Stretch | StretchToMultiple | Letterbox | CenterCrop | Pad | NoFit, Field(discriminator="kind")
]


class DecodeSpec(Spec):
    """From an encoded file to pixels, as in ``ImageSpec``: all that a cascade itself does to an image."""

    exif: Literal["apply", "ignore"]
    alpha: Literal["white", "black", "drop"]


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
