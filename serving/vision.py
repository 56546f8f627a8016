"""``ocella.v1.Vision``: messages in, calls on the data plane, messages out."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

import grpc

from pipelines.errors import DrainingError, InvalidRequestError
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionServicer
from serving.calls import Calls
from serving.catalog import Catalog
from serving.dataplane import DataPlane
from serving.handlers import Malformed
from serving.metrics import Metrics
from serving.status import Failure, failure_of
from serving.wire import (
    STATUS_DETAILS_KEY,
    check_form,
    read_call,
    read_window,
    write_answer,
    write_description,
    write_frame_failure,
    write_models,
    write_status_details,
)

T = TypeVar("T")
Context = Any  # grpc.aio.ServicerContext; grpcio has no types for it


@dataclass(frozen=True)
class VisionParts:
    """What the service is made of; ``window`` is a stream's where its client does not say."""

    plane: DataPlane
    catalog: Catalog
    calls: Calls
    metrics: Metrics
    window: int


class Vision(VisionServicer):
    """The servicer; method names are gRPC's."""

    def __init__(self, parts: VisionParts) -> None:
        self._parts = parts

    async def Predict(self, request: pb.PredictRequest | Malformed, context: Context) -> pb.PredictResponse:  # noqa: N802
        """Run one model on one image."""
        outcome = await self._answer("Predict", context.peer(), request, deadline_of(context))
        return outcome if isinstance(outcome, pb.PredictResponse) else await refuse(context, outcome)

    async def PredictStream(self, requests: object, context: Context) -> None:  # noqa: N802
        """Answer a stream in order, a bounded window at a time; a bad request is answered in band."""
        with self._parts.metrics.streams_active.track_inprogress():
            failure = await _Stream(
                self._parts, partial(self._answer, "PredictStream", context.peer()), context
            ).serve()
        if failure:
            await refuse(context, failure)

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest | Malformed, context: Context
    ) -> pb.ListModelsResponse:
        """List the known model versions."""

        async def work() -> pb.ListModelsResponse:
            _well_formed(request)
            return write_models(self._parts.plane.models())

        outcome = await self._parts.calls.run("ListModels", work(), deadline=deadline_of(context))
        return await refuse(context, outcome) if isinstance(outcome, Failure) else outcome

    async def DescribeModel(  # noqa: N802
        self, request: pb.DescribeModelRequest | Malformed, context: Context
    ) -> pb.DescribeModelResponse:
        """Describe one ready model version."""

        async def work() -> pb.DescribeModelResponse:
            asked = _well_formed(request)
            return write_description(self._parts.plane.describe(asked.model, asked.version))

        outcome = await self._parts.calls.run("DescribeModel", work(), deadline=deadline_of(context), **_named(request))
        return await refuse(context, outcome) if isinstance(outcome, Failure) else outcome

    async def _answer(
        self, method: str, client: str, request: pb.PredictRequest | Malformed, deadline: float
    ) -> pb.PredictResponse | Failure:
        async def work() -> pb.PredictResponse:
            call, form = read_call(_well_formed(request), deadline=deadline, client=client)
            check_form(form, has_masks=self._parts.catalog.find(call.model, call.version).has_masks)
            return await self._parts.plane.predict(call, partial(write_answer, form=form))

        return await self._parts.calls.run(method, work(), deadline=deadline, **_named(request))


class _Stream:
    """One stream being served: a reader that starts requests, a writer that sends their answers in order."""

    def __init__(
        self,
        parts: VisionParts,
        answer: Callable[[pb.PredictRequest | Malformed, float], Coroutine[Any, Any, pb.PredictResponse | Failure]],
        context: Context,
    ) -> None:
        self._parts = parts
        self._answer = answer
        self._context = context
        self._deadline = deadline_of(context)
        self._started: asyncio.Queue[asyncio.Task[pb.PredictResponse] | None] = asyncio.Queue()

    async def serve(self) -> Failure | None:
        """Serve until the client is done or the server drains; what the stream as a whole is refused with, if so."""
        first = await self._read_or_drain()
        if first is None:
            return self._refusal()
        try:
            asked = pb.PredictRequest() if isinstance(first, Malformed) else first
            window = asyncio.Semaphore(read_window(asked, default=self._parts.window))
        except InvalidRequestError as error:
            return failure_of(error, request_id="")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._start_requests(tasks, first, window))
            while (answer := await self._started.get()) is not None:
                await self._context.write(await answer)
                window.release()
        return self._refusal()

    async def _start_requests(
        self, tasks: asyncio.TaskGroup, request: pb.PredictRequest | Malformed | None, window: asyncio.Semaphore
    ) -> None:
        """Start each request when the window has room; so the queue of started ones holds at most a window."""
        while request is not None:
            await window.acquire()
            self._started.put_nowait(tasks.create_task(self._answer_in_band(request)))
            request = await self._read_or_drain()
        self._started.put_nowait(None)

    async def _answer_in_band(self, request: pb.PredictRequest | Malformed) -> pb.PredictResponse:
        outcome = await self._answer(request, self._deadline)
        if isinstance(outcome, Failure):
            self._parts.metrics.frames_failed.inc()
            return write_frame_failure(outcome, pb.PredictRequest() if isinstance(request, Malformed) else request)
        self._parts.metrics.frames_answered.inc()
        return outcome

    async def _read_or_drain(self) -> pb.PredictRequest | Malformed | None:
        """The next request; ``None`` where the client sends no more or the server drains."""
        read = asyncio.ensure_future(self._context.read())
        drain = asyncio.ensure_future(self._parts.catalog.draining.wait())
        try:
            await asyncio.wait((read, drain), return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                return None
            request = read.result()
            return None if request is grpc.aio.EOF else request  # type: ignore[attr-defined]  # grpc-stubs lack it
        finally:
            read.cancel()
            drain.cancel()

    def _refusal(self) -> Failure | None:
        if self._parts.catalog.draining.is_set():
            return failure_of(DrainingError("the server is stopping"), request_id="")
        return None


def _well_formed(request: T | Malformed) -> T:
    if isinstance(request, Malformed):
        raise InvalidRequestError(f"the request must be a protobuf message {request.kind}, its bytes are none")
    return request


def _named(request: pb.PredictRequest | pb.DescribeModelRequest | Malformed) -> dict[str, Any]:
    """Model and version that a request names; nothing where it cannot be read."""
    return {} if isinstance(request, Malformed) else {"model": request.model, "version": request.version}


def deadline_of(context: Context) -> float:
    """The call's deadline in monotonic seconds; infinite where it has none."""
    remaining_s = context.time_remaining()
    return math.inf if remaining_s is None else time.monotonic() + float(remaining_s)


async def refuse(context: Context, failure: Failure) -> NoReturn:
    """End the call with the failure's code, message and details."""
    await context.abort(
        failure.status.grpc,
        failure.message,
        trailing_metadata=((STATUS_DETAILS_KEY, write_status_details(failure)),),
    )
    raise AssertionError("abort always raises")
