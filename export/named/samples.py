"""The sample images of models that come by name alone: photos of the zoo, not square, colourful, in every install."""

from __future__ import annotations

from importlib.resources import files

from export.package import Sample

_FOLDER = "efficientnet-lite0"
NAMES = ("chelsea", "coffee")


def photos() -> tuple[Sample, ...]:
    """A cat and a cup of coffee, as PNG."""
    folder = files("export.zoo").joinpath("golden", _FOLDER)
    return tuple(Sample(name, folder.joinpath(f"{name}.png").read_bytes()) for name in NAMES)
