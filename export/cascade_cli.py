"""The command that joins two packages: ``ocella cascade``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pipelines.errors import RecipeError
from pipelines.specs import AlignCrop, BoxCrop, Crop


class CropKind(StrEnum):
    """How an object becomes the second model's image."""

    box = "box"
    align = "align"


class Template(StrEnum):
    """Where the landmarks of an aligned face lie."""

    arcface_112 = "arcface_112"
    dlib_150 = "dlib_150"
    eye_line = "eye_line"


_NATIVE_PX = {Template.arcface_112: 112, Template.dlib_150: 150}


def cascade(
    detector: Annotated[Path, typer.Argument(metavar="DETECTOR", help="Package whose objects go on.")],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND", help="Package that classifies, embeds or segments each object.")
    ],
    name: Annotated[str, typer.Option(help="Of the model, as in a repository.")],
    crop: Annotated[CropKind, typer.Option(help="Cut out the box, or align by landmarks.")],
    samples: Annotated[
        list[Path], typer.Option("--sample", metavar="IMAGE", help="Golden sample with objects on it; one to four.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the package goes; it must not exist.")],
    version: Annotated[int, typer.Option(help="Of the model, 1 and up.")] = 1,
    description: Annotated[str | None, typer.Option(help="One line; default: the names of both.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="box: part of the box's sides added on each side; default 0.")
    ] = None,
    square: Annotated[
        bool | None, typer.Option("--square/--no-square", help="box: make both sides the longer one; default no.")
    ] = None,
    template: Annotated[Template | None, typer.Option(help="align: needed.")] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(
            metavar="I,I,...",
            help="align: keypoints of left eye, right eye, nose, left and right corner of the mouth, as seen; "
            "eye_line: the eyes alone. Default: in this order.",
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(metavar="PX", help="align: side of the crop; default the template's own.")
    ] = None,
    pad_value: Annotated[int, typer.Option(help="Level of what lies beyond the image, 0 to 255.")] = 0,
    classes: Annotated[
        str | None, typer.Option(metavar="ID,ID,...", help="Classes of the detector that go on; default all.")
    ] = None,
    min_size: Annotated[float, typer.Option(metavar="PX", help="Least length of a box's shorter side.")] = 0.0,
    max_objects: Annotated[int, typer.Option(help="Most objects of an image that go on.")] = 100,
) -> None:
    r"""Make a package of two: what the first finds is cut out and answered by the second.

    Example:
        ocella cascade ~/.cache/ocella/models/centerface ~/.cache/ocella/models/efficientnet-lite0 \
            --name faces-seen --crop box --margin 0.3 --square \
            --sample examples/images/astronaut.png --out out/faces-seen/1
    """
    from pydantic import ValidationError

    from export.cascade import CascadeRecipe, write_cascade
    from pipelines.manifest import first_problem

    try:
        how = _crop(crop, margin, square, template, landmarks, size, pad_value)
        recipe = CascadeRecipe(
            name=name,
            version=version,
            description=description or f"{detector.name}, then {second.name} on each object.",
            crop=how,
            classes=None if classes is None else _numbers("--classes", classes),
            min_size_px=min_size,
            max_objects=max_objects,
        )
        manifest = write_cascade(out, recipe, detector=detector, second=second, samples=samples)
    except ValidationError as error:
        raise RecipeError(first_problem(error)) from error
    typer.echo(f"{manifest.name} {manifest.version}: {out}")


def _crop(
    kind: CropKind,
    margin: float | None,
    square: bool | None,
    template: Template | None,
    landmarks: str | None,
    size: int | None,
    pad_value: int,
) -> Crop:
    """The crop that the flags say; raises RecipeError for one that is missing, or has no effect on this kind."""
    box = {"--margin": margin, "--square": square}
    align = {"--template": template, "--landmarks": landmarks, "--size": size}
    idle = align if kind is CropKind.box else box
    for flag, value in idle.items():
        if value is not None:
            raise RecipeError(f"{flag} has no effect with --crop {kind.value}")
    if kind is CropKind.box:
        return BoxCrop(kind="box", margin=margin or 0.0, square=bool(square), pad_value=pad_value)
    if template is None:
        raise RecipeError(f"--crop align needs --template, one of {', '.join(each.value for each in Template)}")
    side = size or _NATIVE_PX.get(template)
    if side is None:
        raise RecipeError("--template eye_line has no size of its own, give --size")
    default = "0,1" if template is Template.eye_line else "0,1,2,3,4"
    return AlignCrop(
        kind="align",
        template=template.value,
        landmarks=_numbers("--landmarks", landmarks or default),
        size_px=side,
        pad_value=pad_value,
    )


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise RecipeError(f"{flag} must be whole numbers with commas between, got {text!r}") from error
