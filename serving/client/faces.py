"""The faces of both clients: enrol, verify, identify, list, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pipelines.decisions import (
    Candidate,
    Decision,
    Enrolled,
    Identified,
    IdentifiedFace,
    People,
    Person,
    Removed,
    Thresholds,
    Verified,
)
from pipelines.errors import InvalidRequestError, ServerFaultError
from protos.ocella.v1 import faces_pb2 as pb
from serving.client.channel import OF_CLIENT, Timeout
from serving.client.options import ONCE
from serving.client.results import Image
from serving.client.wire import encode_image
from serving.client.wire_results import read_quality

DECISIONS: Mapping[int, Decision] = {
    pb.DECISION_SAME: Decision.same,
    pb.DECISION_UNCERTAIN: Decision.uncertain,
    pb.DECISION_DIFFERENT: Decision.different,
}


class _Connected(Protocol):
    """What a client gives its faces: calls on its connection, whose stubs have ``faces``."""

    _connection: Any


class FaceCalls:
    """Methods of ``VisionClient``; ``model`` may be left out where the server has one that embeds faces."""

    def enroll(
        self: _Connected, person: str, images: Iterable[Image], *, model: str = "", timeout_s: Timeout = OF_CLIENT
    ) -> Enrolled:
        """Add samples of a person, all or none: one image with one face is enough.

        Raises FaceRefusedError with the reasons where an image is not fit.
        """
        request = write_enroll(model, person, images)
        return read_enrolled(
            self._connection.call(lambda stubs: stubs.faces.Enroll, request, timeout_s=timeout_s, retry=ONCE)
        )

    def verify(
        self: _Connected,
        probe: Image,
        *,
        image: Image | None = None,
        person: str | None = None,
        threshold: float | None = None,
        model: str = "",
        timeout_s: Timeout = OF_CLIENT,
    ) -> Verified:
        """Compare the face of an image with that of another, or with a person; raises UnknownPersonError."""
        request = write_verify(model, probe, image=image, person=person, threshold=threshold)
        return read_verified(self._connection.call(lambda stubs: stubs.faces.Verify, request, timeout_s=timeout_s))

    def identify(
        self: _Connected,
        image: Image,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        model: str = "",
        timeout_s: Timeout = OF_CLIENT,
    ) -> Identified:
        """Search for each face of an image; ``person`` of a face is ``None`` where it is nobody of the gallery."""
        request = write_identify(model, image, top_k=top_k, threshold=threshold)
        return read_identified(self._connection.call(lambda stubs: stubs.faces.Identify, request, timeout_s=timeout_s))

    def list_people(self: _Connected, *, model: str = "", timeout_s: Timeout = OF_CLIENT) -> People:
        """Who is enrolled, and what the gallery is bound to."""
        request = pb.ListPeopleRequest(model=model)
        return read_people(self._connection.call(lambda stubs: stubs.faces.ListPeople, request, timeout_s=timeout_s))

    def remove_person(self: _Connected, person: str, *, model: str = "", timeout_s: Timeout = OF_CLIENT) -> Removed:
        """Delete a person's embeddings and crops for good; ``erased`` says whether nothing is left on the disk."""
        request = pb.RemovePersonRequest(model=model, person=person)
        return read_removed(
            self._connection.call(lambda stubs: stubs.faces.RemovePerson, request, timeout_s=timeout_s, retry=ONCE)
        )


class AsyncFaceCalls:
    """Methods of ``AsyncVisionClient``: those of ``VisionClient`` to await."""

    async def enroll(
        self: _Connected, person: str, images: Iterable[Image], *, model: str = "", timeout_s: Timeout = OF_CLIENT
    ) -> Enrolled:
        """As ``VisionClient.enroll``."""
        request = await asyncio.to_thread(write_enroll, model, person, images)
        return read_enrolled(
            await self._connection.call(lambda stubs: stubs.faces.Enroll, request, timeout_s=timeout_s, retry=ONCE)
        )

    async def verify(
        self: _Connected,
        probe: Image,
        *,
        image: Image | None = None,
        person: str | None = None,
        threshold: float | None = None,
        model: str = "",
        timeout_s: Timeout = OF_CLIENT,
    ) -> Verified:
        """As ``VisionClient.verify``."""
        request = await asyncio.to_thread(write_verify, model, probe, image=image, person=person, threshold=threshold)
        return read_verified(
            await self._connection.call(lambda stubs: stubs.faces.Verify, request, timeout_s=timeout_s)
        )

    async def identify(
        self: _Connected,
        image: Image,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        model: str = "",
        timeout_s: Timeout = OF_CLIENT,
    ) -> Identified:
        """As ``VisionClient.identify``."""
        request = await asyncio.to_thread(write_identify, model, image, top_k=top_k, threshold=threshold)
        return read_identified(
            await self._connection.call(lambda stubs: stubs.faces.Identify, request, timeout_s=timeout_s)
        )

    async def list_people(self: _Connected, *, model: str = "", timeout_s: Timeout = OF_CLIENT) -> People:
        """As ``VisionClient.list_people``."""
        request = pb.ListPeopleRequest(model=model)
        return read_people(
            await self._connection.call(lambda stubs: stubs.faces.ListPeople, request, timeout_s=timeout_s)
        )

    async def remove_person(
        self: _Connected, person: str, *, model: str = "", timeout_s: Timeout = OF_CLIENT
    ) -> Removed:
        """As ``VisionClient.remove_person``."""
        request = pb.RemovePersonRequest(model=model, person=person)
        return read_removed(
            await self._connection.call(
                lambda stubs: stubs.faces.RemovePerson, request, timeout_s=timeout_s, retry=ONCE
            )
        )


def write_enroll(model: str, person: str, images: Iterable[Image]) -> pb.EnrollRequest:
    """Write an enrol request; raises ImageDecodeError where an image cannot be sent."""
    return pb.EnrollRequest(model=model, person=person, images=map(encode_image, images))


def write_verify(
    model: str, probe: Image, *, image: Image | None, person: str | None, threshold: float | None
) -> pb.VerifyRequest:
    """Write a verify request; raises InvalidRequestError unless one reference is given."""
    if (image is None) == (person is None):
        raise InvalidRequestError("a probe must be compared with an image or a person, one of both")
    reference = None if image is None else encode_image(image)
    return pb.VerifyRequest(model=model, probe=encode_image(probe), image=reference, person=person, threshold=threshold)


def write_identify(model: str, image: Image, *, top_k: int, threshold: float | None) -> pb.IdentifyRequest:
    """Write an identify request; raises InvalidRequestError for a ``top_k`` below 1."""
    if top_k < 1:
        raise InvalidRequestError(f"top_k must be 1 or more, got {top_k}")
    return pb.IdentifyRequest(model=model, image=encode_image(image), top_k=top_k, threshold=threshold)


def read_enrolled(message: pb.EnrollResponse) -> Enrolled:
    """The answer of Enroll."""
    return Enrolled(tuple(map(read_quality, message.qualities)), message.samples)


def read_verified(message: pb.VerifyResponse) -> Verified:
    """The answer of Verify."""
    return Verified(_read_decision(message.decision), message.score, _read_thresholds(message.thresholds))


def read_identified(message: pb.IdentifyResponse) -> Identified:
    """The answer of Identify."""
    return Identified(tuple(map(_read_face, message.faces)), _read_thresholds(message.thresholds), message.searched)


def read_people(message: pb.ListPeopleResponse) -> People:
    """The answer of ListPeople."""
    return People(
        tuple(Person(each.name, each.samples, each.enrolled_at_s) for each in message.people),
        message.embedder_sha256,
        message.recipe_seal,
        _read_thresholds(message.thresholds) if message.HasField("thresholds") else None,
        message.searched_by,
    )


def read_removed(message: pb.RemovePersonResponse) -> Removed:
    """The answer of RemovePerson."""
    return Removed(message.samples, message.erased)


def _read_face(message: pb.IdentifiedFace) -> IdentifiedFace:
    left, top, right, bottom = message.box
    return IdentifiedFace(
        (left, top, right, bottom),
        message.score,
        tuple(zip(message.landmarks[::2], message.landmarks[1::2], strict=True)),
        read_quality(message.quality),
        _read_decision(message.decision),
        tuple(Candidate(each.person, each.score) for each in message.candidates),
    )


def _read_decision(value: int) -> Decision:
    if value not in DECISIONS:
        raise ServerFaultError(f"the server decided {value}, which this client does not know")
    return DECISIONS[value]


def _read_thresholds(message: pb.Thresholds) -> Thresholds:
    target = message.target_fmr if message.HasField("target_fmr") else None
    return Thresholds(message.same, message.different, target)
