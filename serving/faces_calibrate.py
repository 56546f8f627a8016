"""Measuring a model on folders of people, and the threshold that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipelines.calibration import Measured, calibrate
from pipelines.errors import CalibrationError, OcellaError
from pipelines.types import AnyArray, FloatArray
from serving.faces_local import FaceModel

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def images_by_person(root: Path) -> list[tuple[str, list[Path]]]:
    """``ROOT/<person>/**/<image>``: people by name, their images. Raises CalibrationError without any."""
    if not root.is_dir():
        raise CalibrationError(f"{root} must be a folder with a folder for each person, there is none")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    people = [
        (folder.name, sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES))
        for folder in folders
    ]
    people = [(name, images) for name, images in people if images]
    if not people:
        raise CalibrationError(f"{root} must hold a folder of images for each person, it holds none")
    return people


def measure(
    model: FaceModel, root: Path, *, target_fmr: float, target_fnmr: float, skip: Callable[[Path, str], None]
) -> Measured:
    """Embed every image and choose the threshold.

    Args:
        model: whose embeddings are compared.
        root: folders by identity.
        target_fmr: false match rate.
        target_fnmr: of the lower band.
        skip: told of each image that is left out, and why: unreadable, no face, several.
    """
    vectors, identities = embed_people(model, root, skip=skip)
    return calibrate(vectors, identities, target_fmr=target_fmr, target_fnmr=target_fnmr)


def embed_people(model: FaceModel, root: Path, *, skip: Callable[[Path, str], None]) -> tuple[FloatArray, AnyArray]:
    """Embeddings ``(N, D)`` of the images with one face, and ``(N,)`` whom each shows."""
    vectors, identities = [], []
    for number, (_, images) in enumerate(images_by_person(root)):
        for path in images:
            try:
                _, faces = model.faces(path.read_bytes())
            except (OcellaError, OSError) as error:
                skip(path, str(error))
                continue
            if len(faces) == 1:
                vectors.append(faces[0].vector)
                identities.append(number)
            else:
                skip(path, f"{len(faces)} faces, one is needed")
    if not vectors:
        raise CalibrationError(f"no image of {root} shows one face")
    return np.stack(vectors), np.array(identities, np.int64)
