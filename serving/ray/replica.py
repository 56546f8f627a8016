"""One replica of one model: the same core as the server's, answering messages that a router hands it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from grpc.aio import EOF  # type: ignore[attr-defined]  # grpc-stubs lack it
from prometheus_client import generate_latest
from ray import serve

from pipelines.errors import ModelNotReadyError
from serving.catalog import ModelStatus
from serving.core import Core, serving_core
from serving.grpc_server import ENVELOPE_BYTES
from serving.handlers import INFERENCE_SERVICE, SERVICE, inference_handlers, vision_handlers
from serving.http_server import allowed_hosts, build_app
from serving.oip.methods import METHODS
from serving.oip.service import InferenceService
from serving.probes import OwnProbes
from serving.ray.board import telling
from serving.ray.call import HandedCall, Outlet, RefusedError
from serving.ray.messages import Outcome, Question, WebReply, WebRequest
from serving.ray.names import BOARD, DEPLOYMENT
from serving.ray.scoped import Scoped, log_to_stderr
from serving.ray.web import answer_web
from serving.rest.parts import RestParts
from serving.settings import Settings, StartError
from serving.vision import Vision, VisionParts


class Replica(Scoped):
    """A deployment's class; Ray builds it, asks after its health, and lets go of it once nothing is inside."""

    async def __init__(self, settings: Mapping[str, Any], cores: int, digest: str) -> None:  # type: ignore[misc]  # Ray awaits it
        """Load the model; where no version loads, ``check_health`` says so, and Ray keeps the replicas before.

        Args:
            settings: of a server of this model alone, as JSON's values.
            cores: to compute with.
            digest: of what it was made of, for whoever deploys it.
        """
        told = Settings.model_validate(settings)
        log_to_stderr(told)
        self._digest = digest
        board = serve.get_deployment_handle(DEPLOYMENT, BOARD)
        async with AsyncExitStack() as stack:
            self._core = core = await stack.enter_async_context(serving_core(told, cores=cores))
            self._problem = await _loaded(core)
            await stack.enter_async_context(core.guard)
            parts = VisionParts(core.plane, core.catalog, core.calls, core.metrics, told.stream_window)
            self._services = {
                SERVICE: vision_handlers(Vision(parts)),
                INFERENCE_SERVICE: inference_handlers(InferenceService(core.oip), METHODS),
            }
            probes = OwnProbes(core.catalog, core.metrics.registry, is_alive=lambda: core.guard.alive)
            rest = RestParts(
                core.oip, core.plane, core.pixels, core.limits, max_body=told.max_image_bytes + ENVELOPE_BYTES
            )
            self._web = build_app(probes, rest, allowed_hosts=allowed_hosts(told.host))
            told_of = asyncio.create_task(telling(board, own_name(), self._metrics))
            stack.push_async_callback(ended, told_of)
            stack.callback(core.catalog.drain)
            self._scope = stack.pop_all()

    async def unary(self, method: str, question: Question) -> Outcome:
        """Answer a request that has one answer; one of a stream is answered as a stream of its own, errors in band."""
        handler = self._handler(method)
        try:
            if handler.request_streaming:
                return await _alone(handler, question)
            return _written(handler, await handler.unary_unary(_read(handler, question.data), HandedCall(question)))
        except RefusedError as refused:
            return refused.failure

    async def many(self, method: str, question: Question) -> AsyncIterator[Outcome]:
        """Answer a request that has many answers; a failure is the last of them."""
        handler, outlet = self._handler(method), Outlet()

        async def write(answer: Any) -> None:
            await outlet.write(_written(handler, answer))

        call = HandedCall(question, write=write)
        try:
            async for data in outlet.drain(handler.unary_stream(_read(handler, question.data), call)):
                yield data
        except RefusedError as refused:
            yield refused.failure

    async def web(self, request: WebRequest) -> WebReply:
        """Answer one request of HTTP."""
        return await answer_web(self._web, request)

    async def statuses(self) -> tuple[ModelStatus, ...]:
        """The known versions of the model."""
        return self._core.catalog.statuses()

    async def digest(self) -> str:
        """What this replica was made of."""
        return self._digest

    def check_health(self) -> None:
        """Raise ModelNotReadyError where this replica is to be replaced; Ray asks before the first request, too."""
        if self._problem:
            raise ModelNotReadyError(self._problem)
        if not self._core.guard.alive:
            raise ModelNotReadyError("runs of the model hang again and again")
        if not self._core.catalog.is_serving(""):
            reasons = "; ".join(status.reason for status in self._core.catalog.statuses() if not status.ready)
            raise ModelNotReadyError(f"the model does not answer: {reasons}")

    def _handler(self, method: str) -> Any:
        """The handler of a method, as the server has it."""
        for service, handlers in self._services.items():
            if found := handlers.service(_Details(f"/{service}/{method}", ())):
                return found
        raise AssertionError(f"routers send no {method}")

    def _metrics(self) -> str:
        return generate_latest(self._core.metrics.registry).decode()


async def _loaded(core: Core) -> str:
    """Load the models; why none loads, or nothing. Raised here it would be in the log as a page of Ray's own lines."""
    try:
        await core.lifecycle.start()
    except StartError as error:
        return str(error)
    return ""


class _Details(NamedTuple):
    """What gRPC's tables of handlers are asked by."""

    method: str
    invocation_metadata: Sequence[tuple[str, str]]


async def _alone(handler: Any, question: Question) -> bytes:
    """The answer to a stream of one request."""
    requests: list[Any] = [_read(handler, question.data)]
    answers: list[bytes] = []

    async def read() -> Any:
        return requests.pop() if requests else EOF

    async def write(answer: Any) -> None:
        answers.append(_written(handler, answer))

    await handler.stream_stream(None, HandedCall(question, read=read, write=write))
    return answers[0]


def _read(handler: Any, data: bytes) -> Any:
    """The request as its handler takes it."""
    return data if handler.request_deserializer is None else handler.request_deserializer(data)


def _written(handler: Any, answer: Any) -> bytes:
    """The answer as it is on the wire."""
    return answer if handler.response_serializer is None else handler.response_serializer(answer)


def own_name() -> str:
    """Ray's name for the replica that this process is."""
    return str(serve.get_replica_context().replica_id.unique_id)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it is over."""
    task.cancel()
    await asyncio.wait((task,))
