"""``ocella.v1.Vision``: messages in, calls on the data plane, messages out."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NoReturn, TypeAlias

from pipelines.errors import DrainingError, InvalidRequestError
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionServicer
from serving.calls import Calls
from serving.catalog import Catalog
from serving.dataplane import DataPlane
from serving.handlers import Malformed, well_formed
from serving.metrics import Metrics
from serving.ordered_stream import Begin, OrderedStream
from serving.security.caller import client_of
from serving.status import Failure, failure_of
from serving.trail import current_arrival, dropped, received
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
from serving.wire_streams import read_drops, read_tile_options, write_dropped, write_tile

Context = Any  # grpc.aio.ServicerContext; grpcio has no types for it
Request: TypeAlias = pb.PredictRequest | Malformed


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

    async def Predict(self, request: Request, context: Context) -> pb.PredictResponse:  # noqa: N802
        """Run one model on one image."""
        self._arrive(context)
        outcome = await self._answer("Predict", client_of(context), request, deadline_of(context))
        return outcome if isinstance(outcome, pb.PredictResponse) else await refuse(context, outcome)

    async def PredictStream(self, requests: object, context: Context) -> None:  # noqa: N802
        """Answer a stream in order, a bounded window at a time; a bad request is answered in band."""
        self._arrive(context)
        parts, deadline = self._parts, deadline_of(context)
        with parts.metrics.streams_active.track_inprogress(), parts.calls.stream("PredictStream", deadline=deadline):
            stream: OrderedStream[Request, pb.PredictResponse] = OrderedStream(context, parts.catalog.draining)
            first = await stream.read()
            try:
                asked = pb.PredictRequest() if first is None else _readable(first)
                window, drops = read_window(asked, default=parts.window), read_drops(asked)
            except InvalidRequestError as error:
                await refuse(context, failure_of(error, request_id=""))
            answer = partial(self._answer_in_band, client=client_of(context), deadline=deadline)
            await stream.serve(first, answer, window=window, drop=self._drop if drops else None)
            if parts.catalog.draining.is_set():
                await refuse(context, failure_of(DrainingError("the server is stopping"), request_id=""))

    async def PredictTiles(self, request: Request, context: Context) -> None:  # noqa: N802
        """Run one model on a large image in tiles: each tile's result as it is ready, then the merged one."""
        self._arrive(context)
        deadline, client = deadline_of(context), client_of(context)

        async def work() -> None:
            call, form = read_call(well_formed(request), deadline=deadline, client=client)
            received(len(call.image))
            tiles = read_tile_options(well_formed(request))
            check_form(form, has_masks=self._parts.catalog.find(call.model, call.version).has_masks)
            await self._parts.plane.predict_tiles(call, tiles, partial(write_tile, form=form), context.write)

        outcome = await self._parts.calls.run(
            "PredictTiles", work(), deadline=deadline, client=client, **_named(request)
        )
        if isinstance(outcome, Failure):
            await refuse(context, outcome)

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest | Malformed, context: Context
    ) -> pb.ListModelsResponse:
        """List the known model versions."""
        self._arrive(context)

        async def work() -> pb.ListModelsResponse:
            well_formed(request)
            return write_models(self._parts.plane.models())

        outcome = await self._parts.calls.run(
            "ListModels", work(), deadline=deadline_of(context), client=client_of(context)
        )
        return await refuse(context, outcome) if isinstance(outcome, Failure) else outcome

    async def DescribeModel(  # noqa: N802
        self, request: pb.DescribeModelRequest | Malformed, context: Context
    ) -> pb.DescribeModelResponse:
        """Describe one ready model version."""
        self._arrive(context)

        async def work() -> pb.DescribeModelResponse:
            asked = well_formed(request)
            return write_description(self._parts.plane.describe(asked.model, asked.version))

        outcome = await self._parts.calls.run(
            "DescribeModel", work(), deadline=deadline_of(context), client=client_of(context), **_named(request)
        )
        return await refuse(context, outcome) if isinstance(outcome, Failure) else outcome

    def _arrive(self, context: Context) -> None:
        self._parts.calls.arrivals.grpc(context, "grpc")

    async def _answer_in_band(
        self, request: Request, begin: Begin, *, client: str, deadline: float
    ) -> pb.PredictResponse:
        outcome = await self._answer("PredictStream", client, request, deadline, begin)
        if isinstance(outcome, Failure):
            self._parts.metrics.frames_failed.inc()
            return write_frame_failure(outcome, _readable(request))
        self._parts.metrics.frames_answered.inc()
        return outcome

    def _drop(self, request: Request) -> pb.PredictResponse:
        self._parts.metrics.frames_dropped.inc()
        dropped()
        return write_dropped(_readable(request))

    async def _answer(
        self, method: str, client: str, request: Request, deadline: float, begin: Begin | None = None
    ) -> pb.PredictResponse | Failure:
        async def work() -> pb.PredictResponse:
            call, form = read_call(well_formed(request), deadline=deadline, client=client)
            received(len(call.image))
            check_form(form, has_masks=self._parts.catalog.find(call.model, call.version).has_masks)
            call = replace(call, begin=begin) if begin else call
            return await self._parts.plane.predict(call, partial(write_answer, form=form))

        return await self._parts.calls.run(method, work(), deadline=deadline, client=client, **_named(request))


def _readable(request: Request) -> pb.PredictRequest:
    """The request; where its bytes were none, one that says nothing."""
    return pb.PredictRequest() if isinstance(request, Malformed) else request


def _named(request: pb.PredictRequest | pb.DescribeModelRequest | Malformed) -> dict[str, Any]:
    """Model and version that a request names; nothing where it cannot be read."""
    return {} if isinstance(request, Malformed) else {"model": request.model, "version": request.version}


def deadline_of(context: Context) -> float:
    """The call's deadline in monotonic seconds; infinite where it has none."""
    remaining_s = context.time_remaining()
    return math.inf if remaining_s is None else time.monotonic() + float(remaining_s)


async def refuse(context: Context, failure: Failure) -> NoReturn:
    """End the call with the failure's code, message and details; its trailing metadata has the id and trace, too."""
    arrival = current_arrival()
    if arrival.stream is not None:
        arrival.stream.failure = failure
    await context.abort(
        failure.status.grpc,
        failure.message,
        trailing_metadata=(*arrival.headers, (STATUS_DETAILS_KEY, write_status_details(failure))),
    )
    raise AssertionError("abort always raises")
