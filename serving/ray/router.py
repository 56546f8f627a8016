"""Requests to the replicas of their model, and what becomes of them where Ray has no answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from ray.exceptions import RayActorError, RayTaskError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError

from pipelines.errors import DeadlineExceededError, ModelNotReadyError, OverloadedError, UnknownModelError
from serving.metrics import Metrics
from serving.ray.messages import Outcome, Question, WebReply, WebRequest
from serving.ray.standing import Standing
from serving.ray.wire import NAMED
from serving.status import Failure, failure_of, is_listed
from serving.trail import current_arrival

# A request whose replica was lost is asked of another one: every method here only reads. Then its caller is told.
MOST_REPLICAS_LOST = 2
# A client's own clock ends a call at its deadline; so much later than that the call is ended here, too.
LATE_S = 0.05
RETRY_AFTER_S = 0.25
_log = logging.getLogger(__name__)


class Router:
    """Asks replicas; it belongs to one event loop."""

    def __init__(self, handles: Mapping[str, Any], standing: Standing, metrics: Metrics) -> None:
        """``handles``: Ray's, of each model's deployment; ``metrics`` count what replicas do not."""
        self._handles = handles
        self._standing = standing
        self._metrics = metrics

    async def ask(self, method: str, question: Question) -> Outcome:
        """The answer of a replica to a request that has one."""
        start = time.monotonic()
        model = ""
        try:
            model = NAMED[method].model_of(question.data)
            async with asyncio.timeout_at(_end(question)):
                return await self._ask(model, method, question, start)
        except Exception as error:  # noqa: BLE001, the table decides what the caller is told
            return self._failure(error, method, model, start)

    async def web(self, model: str, request: WebRequest) -> WebReply | Failure:
        """The answer of a replica to a request of HTTP."""
        start = time.monotonic()
        try:
            return await ended(self.handle_of(model).web.remote(request))
        except Exception as error:  # noqa: BLE001, the table decides what the caller is told
            return self._failure(error, "http", model, start)

    async def stream(self, method: str, question: Question) -> AsyncIterator[Outcome]:
        """The answers of a replica to a request that has many; a failure is the last of them."""
        start, end = time.monotonic(), _end(question)
        model = ""
        try:
            model = NAMED[method].model_of(question.data)
            answers = self.handle_of(model).options(stream=True).many.remote(method, question)
            try:
                while True:
                    async with asyncio.timeout_at(end):
                        outcome: Outcome = await anext(answers)
                    yield outcome
            except StopAsyncIteration:
                return
            finally:
                answers.cancel()  # one that ended takes no notice
        except Exception as error:  # noqa: BLE001, the table decides what the caller is told
            yield self._failure(error, method, model, start)

    def handle_of(self, model: str) -> Any:
        """Ray's handle of a model that answers; raises UnknownModelError, ModelNotReadyError."""
        state = self._standing.of(model)
        if state is None:
            raise UnknownModelError(f"no model is called {model[:64]!r}")
        if not state.answers:
            raise ModelNotReadyError(f"{model} is not ready: {state.reason}")
        return self._handles[model]

    async def _ask(self, model: str, method: str, question: Question, start: float) -> Outcome:
        lost = 0
        while True:
            handle = self.handle_of(model)
            try:
                return await ended(handle.unary.remote(method, _later(question, start)))
            except (RayActorError, WorkerCrashedError) as error:
                lost += 1
                _log.warning("%s lost a replica under a request of %s: %s", model, method, _first_line(error))
                if lost == MOST_REPLICAS_LOST or isinstance(error, RayTaskError):  # or its own code raised it
                    raise

    def _failure(self, error: Exception, method: str, model: str, start: float) -> Failure:
        """What a caller is told of what no replica answered, counted here since no replica could."""
        ours = _translated(error, model)
        request_id = current_arrival().request_id
        if not is_listed(ours):
            _log.error("internal error, request %s: %s of model %r", request_id, method, model[:64], exc_info=error)
        failure = failure_of(ours, request_id=request_id)
        label = model if model in self._handles or not model else "_unknown"
        self._metrics.call(label, "", method).done(failure.status.grpc.name, time.monotonic() - start)
        return failure


async def ended(response: Any) -> Any:
    """What a replica returns; where the caller is cancelled, so is the replica's work."""
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise


def _end(question: Question) -> float | None:
    """When a request must be over, in the loop's time; ``None``: never."""
    if question.remaining_s is None:
        return None
    return asyncio.get_running_loop().time() + question.remaining_s + LATE_S


def _later(question: Question, start: float) -> Question:
    """A question with the time that is left to it now; it came at ``start``."""
    if question.remaining_s is None:
        return question
    return replace(question, remaining_s=max(0.0, question.remaining_s - (time.monotonic() - start)))


def _translated(error: Exception, model: str) -> Exception:
    """An error of Ray's as one of ours; any other as it is."""
    if isinstance(error, TimeoutError):
        return DeadlineExceededError("the deadline passed before a replica answered")
    if isinstance(error, BackPressureError):
        return OverloadedError(
            f"all replicas of {model} are full, and so is the queue before them", retry_after_s=RETRY_AFTER_S
        )
    if isinstance(error, RayTaskError):
        return error
    if isinstance(error, RayActorError | WorkerCrashedError | TaskCancelledError | RequestCancelledError):
        return ModelNotReadyError(f"the replica of {model} that had the request ended before it answered")
    if isinstance(error, DeploymentUnavailableError):
        return ModelNotReadyError(f"{model} is not ready: its replicas do not start")
    return error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
