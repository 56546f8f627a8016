"""Sample images from files: decoded by the recipe and kept as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.package import Sample
from pipelines.errors import ImageDecodeError, ImageTooLargeError, RecipeError
from pipelines.image import ImageLimits, decode_image
from pipelines.present import encode_png
from pipelines.specs import ImageSpec

MAX_SAMPLES = 4


def read_samples(paths: Sequence[Path], image: ImageSpec) -> tuple[Sample, ...]:
    """Golden samples of image files, named ``sample-0`` and up; raises RecipeError naming the file."""
    if len(paths) > MAX_SAMPLES:
        raise RecipeError(f"at most {MAX_SAMPLES} sample images can be kept, got {len(paths)}")
    samples = []
    for i, path in enumerate(paths):
        try:
            pixels = decode_image(path.read_bytes(), exif=image.exif, alpha=image.alpha, limits=ImageLimits())
        except OSError as error:
            raise RecipeError(f"sample {path} cannot be read: {error.strerror}") from error
        except (ImageDecodeError, ImageTooLargeError) as error:
            raise RecipeError(f"sample {path}: {error}") from error
        samples.append(Sample(f"sample-{i}", encode_png(pixels)))
    return tuple(samples)
