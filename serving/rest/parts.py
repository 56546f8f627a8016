"""What the REST paths are made of, and what each of them is handed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from pipelines.image import ImageLimits
from serving.dataplane import DataPlane
from serving.oip.parts import ServiceParts
from serving.rest.reply import Reply
from serving.security.access import Access
from serving.security.limits import Uploads
from serving.security.roles import Door, Role
from serving.threads import Threads


@dataclass(frozen=True)
class RestParts:
    """The parts.

    Attributes:
        oip: of the Open Inference Protocol, whose other transport is gRPC.
        plane: answers images.
        pixels: threads for what must not be computed on the loop.
        limits: of one image.
        max_body: bytes of a body, unpacked.
        access: who may ask for what; ``None`` where everybody may.
        uploads: bodies on their way in.
        longest_s: that a request may take, from its headers to its answer.
    """

    oip: ServiceParts
    plane: DataPlane
    pixels: Threads
    limits: ImageLimits
    max_body: int
    access: Access | None = None
    uploads: Uploads = field(default_factory=Uploads)
    longest_s: float = math.inf


@dataclass(frozen=True)
class Ask:
    """One request to a path.

    Attributes:
        parts: to answer it with.
        path: the path's parameters.
        query: by name, all known.
        headers: of the request.
        client: who asks: the name of its token, or its connection.
        deadline: monotonic seconds.
        read: reads the body, at most once; raises as ``read_body``.
    """

    parts: RestParts
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Headers
    client: str
    deadline: float
    read: Callable[[], Awaitable[bytes]]


Work: TypeAlias = Callable[[Ask], Awaitable[Reply]]
Schema: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """One method on one path: what serves it, and what OpenAPI says of it.

    Attributes:
        verb: GET or POST.
        path: with ``{parameters}``.
        name: for metrics and OpenAPI; a path with a version has the name of that without.
        summary: one line.
        work: makes the reply.
        role: of the token that it asks for, where the server asks for one.
        runs: whether it runs the model that ``path`` names: its requests then count for that model.
        query: names of query parameters that act.
        takes: OpenAPI's schema of the body by media type; empty where there is none.
        gives: OpenAPI's schema of the answer by media type; empty where there is none.
        fails: statuses of its own refusals, beside those that any path has.
    """

    verb: str
    path: str
    name: str
    summary: str
    work: Work
    role: Role | Door = Role.INFER
    runs: bool = False
    query: tuple[str, ...] = ()
    takes: Mapping[str, Schema] | None = None
    gives: Mapping[str, Schema] | None = None
    fails: tuple[int, ...] = ()
