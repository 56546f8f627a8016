"""Faces without a server: a package and a gallery in this process, with the methods of the client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from pipelines.decisions import Enrolled, Identified, People, Removed, Verified
from pipelines.image import ImageLimits
from pipelines.loader import LoadedCascade, LoadedModel, load_package
from pipelines.tasks import predict
from pipelines.types import ByteArray, FloatArray
from serving.faces_images import (
    NO_OPTIONS,
    FoundFace,
    check_images,
    fit_to_enroll,
    found_in,
    identified,
    one_face,
    sample_of,
    stacked,
)
from serving.gallery.binding import binding_of
from serving.gallery.gallery import Gallery


class FaceModel:
    """A package that embeds faces; a context manager."""

    def __init__(self, package: Path) -> None:
        """Load and prove it; raises InvalidRequestError where it does not embed faces."""
        self._loaded: LoadedModel | LoadedCascade = load_package(package)
        try:
            self.binding = binding_of(self._loaded.pipeline)
        except BaseException:
            self._loaded.close()
            raise

    @property
    def loaded(self) -> LoadedModel | LoadedCascade:
        """The package."""
        return self._loaded

    def faces(self, data: bytes) -> tuple[ByteArray, tuple[FoundFace, ...]]:
        """The pixels of an encoded image, and its faces."""
        loaded = self._loaded
        image = loaded.pipeline.decode(data, ImageLimits())
        if isinstance(loaded, LoadedCascade):
            (nested,) = predict(loaded.pipeline, loaded.session, [image], NO_OPTIONS)
            return image, found_in(loaded.pipeline, image, nested)
        (result,) = predict(loaded.pipeline, loaded.session, [image], NO_OPTIONS)
        return image, found_in(loaded.pipeline, image, result)

    def embed(self, crops: Sequence[bytes]) -> FloatArray:
        """Embed crops as a gallery keeps them: ``(N, D)``, all in one batch."""
        loaded = self._loaded
        member = loaded.second if isinstance(loaded, LoadedCascade) else loaded
        images = [member.pipeline.decode(crop, ImageLimits()) for crop in crops]
        results = predict(member.pipeline, member.session, images, NO_OPTIONS)
        vectors = [result.vector for result in results]  # type: ignore[union-attr]  # the binding says embeddings
        return np.stack(vectors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loaded.close()


class LocalFaces:
    """Enrols, verifies and identifies as a server with the same package and gallery does."""

    def __init__(self, model: FaceModel, gallery: Gallery, *, keep_crops: bool = False) -> None:
        """``keep_crops``: keep what the embedder saw of each sample, for ``reindex``."""
        self._model, self._gallery, self._keep_crops = model, gallery, keep_crops

    def enroll(self, person: str, images: Sequence[bytes]) -> Enrolled:
        """Add samples of a person, all or none."""
        check_images(len(images))
        seen = [self._model.faces(data) for data in images]
        faces = fit_to_enroll([found for _, found in seen])
        pipeline = self._model.loaded.pipeline
        samples = [
            sample_of(pipeline, image, face, keep_crop=self._keep_crops)
            for (image, _), face in zip(seen, faces, strict=True)
        ]
        return Enrolled(tuple(face.quality for face in faces), self._gallery.enroll(person, samples))

    def verify(
        self, probe: bytes, *, image: bytes | None = None, person: str | None = None, threshold: float | None = None
    ) -> Verified:
        """Compare an image with another, or with a person."""
        vector = one_face(self._model.faces(probe)[1]).vector
        if image is not None:
            return self._gallery.verify(vector, one_face(self._model.faces(image)[1]).vector, threshold)
        assert person is not None, "the command asks for one of both"
        return self._gallery.verify_person(vector, person, threshold)

    def identify(self, image: bytes, *, top_k: int = 5, threshold: float | None = None) -> Identified:
        """Who is on an image."""
        _, faces = self._model.faces(image)
        probes = stacked(faces, self._gallery.binding.dim)
        candidates, thresholds, searched = self._gallery.identify(probes, top_k=top_k, threshold=threshold)
        rows = tuple(identified(face, each, thresholds) for face, each in zip(faces, candidates, strict=True))
        return Identified(rows, thresholds, searched)

    def list_people(self) -> People:
        """Who is enrolled."""
        return self._gallery.people()

    def remove_person(self, person: str) -> Removed:
        """Delete a person for good."""
        return self._gallery.remove(person)
