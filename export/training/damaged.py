"""Leaving out images whose headers are whole and whose pixels are not."""

from __future__ import annotations

from dataclasses import replace

from export.data.dataset import Dataset, Problem, Sample
from pipelines.errors import OcellaError
from pipelines.image import decode_image


def without_damaged(data: Dataset) -> Dataset:
    """Decode each image of ``data`` once; what cannot be is left out and named among its ``problems``.

    Readers look at images' headers alone, so that a large data set is read in seconds; this takes as long as an epoch's
    decoding.

    Raises:
        DatasetError: nothing is left.
    """
    whole, found = [], []
    for sample in data.samples:
        problem = _problem(sample)
        if problem is None:
            whole.append(sample)
        else:
            found.append(problem)
    return replace(data, samples=tuple(whole), problems=(*data.problems, *found)) if found else data


def _problem(sample: Sample) -> Problem | None:
    try:
        # How it is turned, and what shows through it, has no part in whether it can be decoded.
        decode_image(sample.path.read_bytes(), exif="apply", alpha="white")
    except OSError as error:
        return Problem(sample.path, "image", f"the image cannot be read: {error.strerror or error}")
    except OcellaError as error:
        return Problem(sample.path, "image", str(error))
    return None
