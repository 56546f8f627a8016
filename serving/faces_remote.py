"""Faces of one model on a server, for the commands: the client with the model's name filled in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Self

from pipelines.decisions import Enrolled, Identified, People, Removed, Verified


class RemoteFaces:
    """The methods of ``LocalFaces``, on a server; a context manager."""

    def __init__(self, server: str, model: str) -> None:
        """``model``: empty for the only one that embeds faces."""
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own lines repeat our errors; read at its import
        from serving.client import VisionClient
        from serving.client.environment import credentials_from_environment

        self._client, self._model = VisionClient(server, **credentials_from_environment()), model

    def enroll(self, person: str, images: Sequence[bytes]) -> Enrolled:
        """Add samples of a person, all or none."""
        return self._client.enroll(person, images, model=self._model)

    def verify(
        self, probe: bytes, *, image: bytes | None = None, person: str | None = None, threshold: float | None = None
    ) -> Verified:
        """Compare an image with another, or with a person."""
        return self._client.verify(probe, image=image, person=person, threshold=threshold, model=self._model)

    def identify(self, image: bytes, *, top_k: int = 5, threshold: float | None = None) -> Identified:
        """Who is on an image."""
        return self._client.identify(image, top_k=top_k, threshold=threshold, model=self._model)

    def list_people(self) -> People:
        """Who is enrolled."""
        return self._client.list_people(model=self._model)

    def remove_person(self, person: str) -> Removed:
        """Delete a person for good."""
        return self._client.remove_person(person, model=self._model)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
