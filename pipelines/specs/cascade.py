"""What a cascade does: which objects of a detector go on to a second model, and how each is cut out."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipelines.specs.base import Count, Index, Level, Spec

# The landmarks that each template places, in their order.
TEMPLATE_POINTS = {"arcface_112": 5, "dlib_150": 5, "eye_line": 2}
Side: TypeAlias = Annotated[int, Field(ge=1, le=4096)]


class Member(Spec):
    """One of a cascade's two packages, bound by the SHA-256 of its ``manifest.json``.

    ``folder`` lies in the cascade's own folder. The manifest says the SHA-256 of every other file, so the package is
    bound as a whole.
    """

    folder: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class BoxCrop(Spec):
    """The whole pixels that an object's box touches, grown by ``margin`` of the box's width and height on each side.

    ``square`` makes the longer side of the grown box both sides, around its centre. What lies beyond the image is
    ``pad_value``.
    """

    kind: Literal["box"]
    margin: Annotated[float, Field(ge=0, le=2)]
    square: bool
    pad_value: Level


class AlignCrop(Spec):
    """A square of ``size_px`` in which the landmarks lie as in ``template``, by a similarity transform.

    ``landmarks`` are indices into the detector's keypoints, in the template's order as seen in the picture: left eye,
    right eye, and but for ``eye_line`` nose, left and right corner of the mouth. The template is scaled to ``size_px``.
    Pixels are bilinear (OpenCV's ``warpAffine``); what lies beyond the image is ``pad_value``.
    """

    kind: Literal["align"]
    template: Literal["arcface_112", "dlib_150", "eye_line"]
    landmarks: tuple[Index, ...]
    size_px: Side
    pad_value: Level

    @model_validator(mode="after")
    def _as_many_as_the_template(self) -> Self:
        wanted = TEMPLATE_POINTS[self.template]
        if len(self.landmarks) != wanted or len(set(self.landmarks)) != wanted:
            raise ValueError(f"landmarks must be {wanted} different indices for {self.template}, got {self.landmarks}")
        return self


Crop: TypeAlias = Annotated[BoxCrop | AlignCrop, Field(discriminator="kind")]


class CascadeHead(Spec):
    """The objects of ``detector`` that go on to ``second``, one crop each; the others are not answered.

    ``classes``: class ids that go on, null: all. ``min_size_px``: least length of a box's shorter side. At most
    ``max_objects`` go on, the best. With ``align``, an object whose landmarks are no face (all in one place or on one
    line) does not go on.
    """

    task: Literal["cascade"]
    detector: Member
    second: Member
    crop: Crop
    classes: tuple[Index, ...] | None
    min_size_px: Annotated[float, Field(ge=0, le=16_384)]
    max_objects: Count

    @model_validator(mode="after")
    def _two_folders(self) -> Self:
        if self.detector.folder == self.second.folder:
            raise ValueError(f"second.folder must not be the detector's, got {self.second.folder!r}")
        if self.classes is not None and (not self.classes or len(set(self.classes)) != len(self.classes)):
            raise ValueError(f"classes must be null or one or more different ids, got {self.classes}")
        return self
