"""What is done to training images, by name and strength."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipelines.specs import Count, Level, Positive, Probability, SizeHW, Spec


class Augment(Spec):
    """Random changes of a training image; nothing by default.

    Attributes:
        flip_horizontal: chance of a mirror image.
        flip_vertical: chance of an image upside down.
        quarter_turns: turn by 0, 90, 180 or 270 degrees, each as likely: aerial photos have no up.
        rotate_degrees: turn by up to so much in either direction.
        scale: smallest and largest factor of the image's size.
        translate: shift by up to this share of the image's sides.
        crop_hw: a window of this size, at a random place.
        windows: how many of an image an epoch sees; null: as many as tile it.
        min_visible: a box goes when less than this share of its area is left in the picture.
        fill: level of pixels that come from outside the image.
        brightness: factor of all levels, 1 plus or minus up to this.
        contrast: factor of the distance from the image's mean, 1 plus or minus up to this.
        saturation: factor of the distance from grey, 1 plus or minus up to this.
        hue: turn of the colour circle by up to this share of it.
    """

    flip_horizontal: Probability = 0.0
    flip_vertical: Probability = 0.0
    quarter_turns: bool = False
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    translate: Probability = 0.0
    crop_hw: SizeHW | None = None
    windows: Count | None = None
    min_visible: Probability = 0.3
    fill: Level = 114
    brightness: Probability = 0.0
    contrast: Probability = 0.0
    saturation: Probability = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale must be smallest, largest, got {self.scale}")
        if self.windows is not None and self.crop_hw is None:
            raise ValueError(f"windows act only where crop_hw is given, got {self.windows}")
        return self
