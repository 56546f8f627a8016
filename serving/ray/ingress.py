"""What Ray's proxies call: every method of our services and HTTP, handed to the replicas of the model that is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from google.protobuf import json_format
from grpc_health.v1.health_pb2 import HealthCheckRequest
from prometheus_client import generate_latest
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from pipelines.errors import InvalidRequestError, NotOfferedError
from protos.ocella.v1 import faces_pb2
from protos.oip import control_pb2
from serving.catalog import ModelStatus
from serving.grpc_server import ENVELOPE_BYTES
from serving.health import Health
from serving.http_server import allowed_hosts
from serving.metrics import Metrics
from serving.oip.documents import Document, repository_index, server_metadata
from serving.oip.methods import METHODS
from serving.ray.board import telling
from serving.ray.call import HandedCall, RefusedError, know
from serving.ray.messages import Outcome, Question, Raw
from serving.ray.names import BOARD, DEPLOYMENT
from serving.ray.overview import Overview
from serving.ray.plan import router_digest
from serving.ray.replica import ended, own_name
from serving.ray.router import Router
from serving.ray.scoped import Scoped, log_to_stderr
from serving.ray.standing import Standing
from serving.ray.streams import Streams
from serving.ray.watch import Watch
from serving.ray.web_front import WebFront
from serving.ray.wire import NAMED, tell
from serving.rest.gate import Door
from serving.settings import Settings
from serving.status import Failure, failure_of
from serving.wire import write_models

WRITTEN_OUT = frozenset({"PredictStream", "PredictTiles", "ModelStreamInfer"})
FACES = tuple(method.name for method in faces_pb2.DESCRIPTOR.services_by_name["Faces"].methods)

# Extensions of the Open Inference Protocol; the index alone of the model repository is here.
NOT_ON_RAY = frozenset({"model_repository", "model_repository(unload_dependents)", "statistics"})


class Ingress(Scoped):
    """A deployment's class: Ray calls the method that has the gRPC method's name, and ``__call__`` for HTTP."""

    async def __init__(self, settings: Mapping[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        """Follow the models of the cluster; ``settings``: of the server, as JSON's values."""
        told, metrics = Settings.model_validate(settings), Metrics()
        log_to_stderr(told)
        self._digest = router_digest(told)
        standing = self._standing = Standing()
        watch = self._watch = Watch(standing)
        board = serve.get_deployment_handle(DEPLOYMENT, BOARD)
        self._router = Router(watch.handles, standing, metrics)
        self._streams = Streams(self._router, window=told.stream_window)
        self._overview = Overview(watch.handles, standing)
        self._health = Health(standing)
        door = Door(allowed_hosts(told.host))
        max_body = told.max_image_bytes + ENVELOPE_BYTES
        self._web = WebFront(self._router, standing, self._overview, board, door=door, max_body=max_body)
        await watch.look()
        async with AsyncExitStack() as stack:
            for work in (
                watch.run(),
                telling(board, own_name(), lambda: generate_latest(metrics.registry).decode()),
            ):
                stack.push_async_callback(ended, asyncio.create_task(work))
            stack.callback(standing.end)
            self._scope = stack.pop_all()

    async def __call__(self, request: Request) -> Response:
        """HTTP."""
        return await self._web.answer(request)

    async def PredictTiles(self, question: Question, grpc_context: Any) -> AsyncIterator[Raw]:  # noqa: N802
        """Answers as the tiles are ready."""
        known = know(question)
        async for outcome in self._router.stream("PredictTiles", known.question):
            yield tell(outcome, grpc_context, known.headers)

    async def PredictStream(  # noqa: N802
        self, requests: AsyncIterator[Question], grpc_context: Any
    ) -> AsyncIterator[Raw]:
        """Images in, answers out, in order."""
        async for raw in _told(self._streams.predict(requests), grpc_context):
            yield raw

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[Question], grpc_context: Any
    ) -> AsyncIterator[Raw]:
        """Requests of the Open Inference Protocol in, answers out, in order."""
        async for raw in _told(self._streams.infer(requests), grpc_context):
            yield raw

    async def Check(self, question: Question, grpc_context: Any) -> Raw:  # noqa: N802
        """Health, now."""
        try:
            answer = await self._health.Check(HealthCheckRequest.FromString(question.data), HandedCall(question))
        except RefusedError as refused:
            return tell(refused.failure, grpc_context, ())
        return Raw(answer.SerializeToString())

    async def Watch(self, question: Question, grpc_context: Any) -> AsyncIterator[Raw]:  # noqa: N802
        """Health, now and at each change."""
        async for answer in self._health.Watch(HealthCheckRequest.FromString(question.data), HandedCall(question)):
            yield Raw(answer.SerializeToString())

    async def statuses(self) -> tuple[ModelStatus, ...]:
        """Every known model version, for whoever deployed them."""
        await self._watch.look()
        return await self._overview.statuses()

    async def digest(self) -> str:
        """What these routers were made of, for whoever deploys them."""
        return self._digest

    async def forward(self, method: str, question: Question) -> Outcome:
        """To a replica of the model that is named."""
        return await self._router.ask(method, question)

    async def list_models(self, _: str, __: Question) -> bytes:
        """Every model version."""
        return write_models(await self._overview.statuses()).SerializeToString()

    async def index(self, method: str, question: Question) -> bytes:
        """Every model version, in the words of the Open Inference Protocol."""
        request = control_pb2.RepositoryIndexRequest.FromString(question.data)
        statuses = await self._overview.statuses()
        return _written(method, {"models": repository_index(statuses, ready_only=request.ready)})

    async def ready(self, method: str, question: Question) -> Outcome:
        """Whether a model answers; one that is not known does not."""
        outcome = await self._router.ask(method, question)
        return _written(method, {"ready": False}) if isinstance(outcome, Failure) else outcome

    async def describe(self, method: str, _: Question) -> bytes:
        """The server itself, in the words of the Open Inference Protocol."""
        return _written(method, self._documents()[method])

    async def refuse(self, method: str, _: Question) -> Outcome:
        """What a cluster does not offer."""
        why = "galleries of faces live in one server" if method in FACES else "models change by deploying them again"
        return failure_of(NotOfferedError(f"{method} is not offered on Ray: {why}"), request_id="")

    def _documents(self) -> Mapping[str, Document]:
        metadata = server_metadata(shared_memory=False)
        return {
            "ServerLive": {"live": True},
            "ServerReady": {"ready": bool(self._standing.is_serving(""))},
            "ServerMetadata": {
                **metadata,
                "extensions": [name for name in metadata["extensions"] if name not in NOT_ON_RAY],
            },
        }


def _written(method: str, document: Document) -> bytes:
    return json_format.ParseDict(document, METHODS[method].gives()).SerializeToString()


async def _told(answers: AsyncIterator[bytes], grpc_context: Any) -> AsyncIterator[Raw]:
    try:
        async for data in answers:
            yield Raw(data)
    except InvalidRequestError as error:
        yield tell(failure_of(error, request_id=""), grpc_context, ())


def _unary(method: str, work: Callable[[Ingress, str, Question], Awaitable[Outcome]]) -> Any:
    """The method that Ray calls for a gRPC method of one request and one answer."""

    async def answer(self: Ingress, question: Question, grpc_context: Any) -> Raw:
        known = know(question)
        return tell(await work(self, method, known.question), grpc_context, known.headers)

    answer.__name__ = method
    return answer


def _methods() -> Iterable[tuple[str, Callable[[Ingress, str, Question], Awaitable[Outcome]]]]:
    """Each gRPC method that is not written out above, with what it does."""
    yield from dict.fromkeys((*METHODS, *FACES), Ingress.refuse).items()
    yield from dict.fromkeys(NAMED.keys() - WRITTEN_OUT, Ingress.forward).items()
    yield from dict.fromkeys(("ServerLive", "ServerReady", "ServerMetadata"), Ingress.describe).items()
    yield from {
        "ListModels": Ingress.list_models,
        "RepositoryIndex": Ingress.index,
        "ModelReady": Ingress.ready,
    }.items()


for _method, _work in _methods():
    setattr(Ingress, _method, _unary(_method, _work))
