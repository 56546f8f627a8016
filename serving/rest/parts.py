"""What the REST paths are made of, and what each of them is handed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.datastructures import Headers

from pipelines.image import ImageLimits
from serving.dataplane import DataPlane
from serving.oip.parts import ServiceParts
from serving.rest.reply import Reply
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
    """

    oip: ServiceParts
    plane: DataPlane
    pixels: Threads
    limits: ImageLimits
    max_body: int


@dataclass(frozen=True)
class Ask:
    """One request to a path.

    Attributes:
        parts: to answer it with.
        path: the path's parameters.
        query: by name, all known.
        headers: of the request.
        client: who asks.
        deadline: monotonic seconds; infinite where the client waits for ever.
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
    runs: bool = False
    query: tuple[str, ...] = ()
    takes: Mapping[str, Schema] | None = None
    gives: Mapping[str, Schema] | None = None
    fails: tuple[int, ...] = ()
