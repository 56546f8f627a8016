"""The paths that answer a document: what the server and its models are, and what an operator may change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from grpc import StatusCode

from pipelines.errors import InvalidRequestError, ModelNotReadyError, NotOfferedError
from serving.catalog import ModelStatus
from serving.oip.control import NO_CUDA
from serving.oip.documents import Document
from serving.oip.questions import (
    configuration,
    describe_model,
    describe_server,
    model_is_ready,
    server_is_ready,
    statistics,
)
from serving.oip.requests import read_count
from serving.oip.shared_memory import Region
from serving.rest.jsons import read_object, refuse_kind, take
from serving.rest.parts import Ask, Work
from serving.rest.reply import Reply, document_reply, failure_reply
from serving.status import Failure, Status

_DONE = Reply()
# By the protocol, a status of 400 to 499 says no.
_NOT_READY = Status(StatusCode.UNAVAILABLE, 400)


def list_models(statuses: Iterable[ModelStatus]) -> Document:
    """Model versions as a document."""
    return {
        "models": [
            {
                "name": status.name,
                "version": status.version,
                "task": status.task,
                "ready": status.ready,
                "reason": status.reason,
            }
            for status in statuses
        ]
    }


async def models(ask: Ask) -> Reply:
    """Every known model version."""
    return document_reply(list_models(ask.parts.plane.models()))


async def live(_: Ask) -> Reply:
    """The server answers."""
    return document_reply({"live": True})


async def ready(ask: Ask) -> Reply:
    """Whether the server answers for its models."""
    return _readiness("the server", is_ready=server_is_ready(ask.parts.oip))


async def model_ready(ask: Ask) -> Reply:
    """Whether a model answers."""
    name, version = ask.path["name"], ask.path.get("version", "")
    return _readiness(f"model {name[:64]!r}", is_ready=model_is_ready(ask.parts.oip, name, version))


async def server(ask: Ask) -> Reply:
    """Name, version and extensions."""
    return document_reply(describe_server(ask.parts.oip))


async def model(ask: Ask) -> Reply:
    """The tensors of a model's graph."""
    return document_reply(describe_model(ask.parts.oip, ask.path["name"], ask.path.get("version", "")))


async def config(ask: Ask) -> Reply:
    """How a model is run."""
    return document_reply(configuration(ask.parts.oip, ask.path["name"], ask.path.get("version", "")))


async def stats(ask: Ask) -> Reply:
    """What models have done."""
    return document_reply(statistics(ask.parts.oip, ask.path.get("name", ""), ask.path.get("version", "")))


async def index(ask: Ask) -> Reply:
    """Every model version under the folders."""
    only = take(await _object(ask), "ready", bool, what="the request")
    return document_reply(ask.parts.oip.control.index("", ready_only=only))


async def load(ask: Ask) -> Reply:
    """Bring a model in line with its folder."""
    parameters = take(await _object(ask), "parameters", dict, what="the request")
    await ask.parts.oip.control.load("", ask.path["name"], sorted(parameters))
    return _DONE


async def unload(ask: Ask) -> Reply:
    """Let a model answer no new request."""
    parameters = take(await _object(ask), "parameters", dict, what="the request")
    await ask.parts.oip.control.unload("", ask.path["name"], sorted(parameters))
    return _DONE


async def regions(ask: Ask) -> Reply:
    """Registered regions of shared memory."""
    found = ask.parts.oip.control.regions(ask.path.get("region", ""))
    return document_reply([vars(region) for region in found.values()])


async def register(ask: Ask) -> Reply:
    """Know a region of shared memory."""
    given = await _object(ask)
    key = given.get("key")
    if type(key) is not str:
        refuse_kind("key", str, key)
    offset = read_count("offset", given.get("offset", 0), most=2**62)
    byte_size = read_count("byte_size", given.get("byte_size", 0), most=2**62)
    ask.parts.oip.control.register(Region(ask.path["region"], key, offset, byte_size))
    return _DONE


async def unregister(ask: Ask) -> Reply:
    """Forget a region of shared memory, or all."""
    ask.parts.oip.control.unregister(ask.path.get("region", ""))
    return _DONE


async def cuda(_: Ask) -> NoReturn:
    """Refuse: no CUDA shared memory."""
    raise NotOfferedError(NO_CUDA)


async def traces(ask: Ask) -> Reply:
    """The settings of traces."""
    return _traces(ask, {})


async def set_traces(ask: Ask) -> Reply:
    """Change the settings of traces, as far as turning them off."""
    return _traces(ask, {name: _settings(name, value) for name, value in (await _object(ask)).items()})


async def logs(ask: Ask) -> Reply:
    """Which lines the server writes."""
    return document_reply(dict(ask.parts.oip.control.set_logs({})))


async def set_logs(ask: Ask) -> Reply:
    """Change which lines the server writes."""
    given = await _object(ask)
    for name, value in given.items():
        if type(value) not in (bool, int, str):
            raise InvalidRequestError(f"{name[:64]} must be a single value")
    return document_reply(dict(ask.parts.oip.control.set_logs(given)))


def openapi_work(document: Document) -> Work:
    """What answers a fixed document."""
    reply = document_reply(document)

    async def work(_: Ask) -> Reply:
        return reply

    return work


def _readiness(what: str, *, is_ready: bool) -> Reply:
    if is_ready:
        return document_reply({"ready": True})
    return failure_reply(Failure(_NOT_READY, ModelNotReadyError.__name__, f"{what} is not ready"))


def _traces(ask: Ask, asked: Mapping[str, tuple[str, ...]]) -> Reply:
    if name := ask.path.get("name"):
        ask.parts.oip.catalog.find(name, 0)
    return document_reply({name: list(values) for name, values in ask.parts.oip.control.set_traces(asked).items()})


def _settings(name: str, value: Any) -> tuple[str, ...]:
    """A setting's values: several, one, or none where it is cleared."""
    values = value if type(value) is list else [] if value is None else [value]
    for each in values:
        if type(each) not in (str, int, bool):
            raise InvalidRequestError(f"{name[:64]} must be a single value or an array of them")
    return tuple(map(str, values))


async def _object(ask: Ask) -> dict[str, Any]:
    return read_object(await ask.read())
