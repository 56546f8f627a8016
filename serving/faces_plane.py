"""What the server does about faces, whatever the transport: enrol, verify, identify, list, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipelines.decisions import Enrolled, Identified, People, Removed, Verified
from pipelines.errors import InvalidRequestError, NotOfferedError
from pipelines.image import ImageLimits
from pipelines.tasks import CascadePipeline, Pipeline
from pipelines.types import ByteArray
from serving.cascade import ServedCascade
from serving.catalog import Catalog
from serving.dataplane import Answer, DataPlane, PredictCall
from serving.faces_images import (
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
from serving.threads import Threads


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, until when, for which model: empty names the only one that embeds faces.

    Attributes:
        model: name.
        deadline: monotonic seconds.
        client: any text that tells clients apart.
    """

    model: str
    deadline: float
    client: str = ""


@dataclass(frozen=True, eq=False)
class _Model:
    """A ready model, its pipeline, and its gallery."""

    name: str
    pipeline: Pipeline | CascadePipeline
    gallery: Gallery


@dataclass(frozen=True, eq=False)
class _Seen:
    """An image's faces, and its pixels where something is still to be done with them."""

    image: ByteArray | None
    faces: tuple[FoundFace, ...]


class FacesPlane:
    """Galleries of the models of a server; it belongs to one event loop. A context manager.

    Images go through the data plane like any prediction; disks and indices are touched on threads of their own.
    """

    def __init__(
        self, plane: DataPlane, catalog: Catalog, limits: ImageLimits, *, galleries: Path | None, keep_crops: bool
    ) -> None:
        """``galleries``: a folder with one gallery a model, by its name; ``None``: nothing is offered."""
        self._plane, self._catalog, self._limits = plane, catalog, limits
        self._folder, self._keep_crops = galleries, keep_crops
        self._open: dict[str, Gallery] = {}
        self._opening = asyncio.Lock()
        self._threads = Threads(2, name="faces")
        self._stack = ExitStack()

    async def enroll(self, caller: Caller, person: str, images: Sequence[bytes]) -> Enrolled:
        """Add samples of a person, all or none; on the disk on return."""
        check_images(len(images))
        model = await self._model(caller)
        seen = [await self._see(caller, model, data) for data in images]
        faces = fit_to_enroll([each.faces for each in seen])

        def keep() -> int:
            pairs = zip(seen, faces, strict=True)
            samples = [sample_of(model.pipeline, each.image, face, keep_crop=self._keep_crops) for each, face in pairs]
            return model.gallery.enroll(person, samples)

        # A client that leaves now may learn too late that its person is enrolled, never too early.
        count = await self._threads.run(keep)
        return Enrolled(tuple(face.quality for face in faces), count)

    async def verify(
        self, caller: Caller, probe: bytes, *, image: bytes | None, person: str | None, threshold: float | None
    ) -> Verified:
        """Compare an image with another, or with a person; each must show one face."""
        model = await self._model(caller)
        vector = one_face((await self._see(caller, model, probe)).faces).vector
        if image is not None:
            other = one_face((await self._see(caller, model, image)).faces).vector
            return await self._threads.run(model.gallery.verify, vector, other, threshold)
        if not person:
            raise InvalidRequestError("a probe must be compared with an image or a person, neither was given")
        return await self._threads.run(model.gallery.verify_person, vector, person, threshold)

    async def identify(self, caller: Caller, image: bytes, *, top_k: int, threshold: float | None) -> Identified:
        """Who is on an image: each face is searched for, and nobody is an answer."""
        model = await self._model(caller)
        faces = (await self._see(caller, model, image)).faces

        def search() -> Identified:
            probes = stacked(faces, model.gallery.binding.dim)
            candidates, thresholds, searched = model.gallery.identify(probes, top_k=top_k, threshold=threshold)
            rows = tuple(identified(face, each, thresholds) for face, each in zip(faces, candidates, strict=True))
            return Identified(rows, thresholds, searched)

        return await self._threads.run(search)

    async def list_people(self, caller: Caller) -> People:
        """Who is enrolled."""
        model = await self._model(caller)
        return await self._threads.run(model.gallery.people)

    async def remove_person(self, caller: Caller, person: str) -> Removed:
        """Delete a person for good."""
        model = await self._model(caller)
        return await self._threads.run(model.gallery.remove, person)

    async def _see(self, caller: Caller, model: _Model, data: bytes) -> _Seen:
        """The faces of an image; its pixels are decoded again where they are needed: a prediction keeps none."""
        call = PredictCall(model=model.name, image=data, deadline=caller.deadline, client=caller.client)
        answer: Answer = await self._plane.predict(call, lambda answer: answer)

        def look() -> _Seen:
            needed = self._keep_crops or not isinstance(model.pipeline, CascadePipeline)
            image = model.pipeline.decode(data, self._limits) if needed else None
            return _Seen(image, found_in(model.pipeline, image, answer.result))

        return await self._threads.run(look)

    async def _model(self, caller: Caller) -> _Model:
        if self._folder is None:
            raise NotOfferedError("this server keeps no faces: start it with --galleries DIR")
        name = caller.model or self._only_one()
        served = self._catalog.find(name, 0)
        pipeline = served.cascade if isinstance(served, ServedCascade) else served.pipeline
        binding = binding_of(pipeline)
        async with self._opening:
            gallery = self._open.get(name)
            if gallery is None or gallery.binding != binding:
                gallery = await self._threads.run(Gallery, self._folder / name, binding)
                self._open[name] = self._stack.enter_context(gallery)
        return _Model(name, pipeline, gallery)

    def _only_one(self) -> str:
        names = sorted(
            {status.name for status in self._catalog.statuses() if status.ready and self._embeds(status.name)}
        )
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise InvalidRequestError(f"model must name one that embeds faces, there are {len(names)} ({listed})")
        return names[0]

    def _embeds(self, name: str) -> bool:
        served = self._catalog.find(name, 0)
        try:
            binding_of(served.cascade if isinstance(served, ServedCascade) else served.pipeline)
        except InvalidRequestError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.close()
        self._stack.close()
