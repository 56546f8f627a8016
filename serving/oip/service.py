"""``inference.GRPCInferenceService``: each request counted once, its errors put through the status table."""

from __future__ import annotations

from functools import partial
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from pipelines.errors import DrainingError
from protos.oip import infer_pb2
from serving.handlers import Malformed, reader_of, well_formed
from serving.oip.methods import METHODS
from serving.oip.parts import ServiceParts
from serving.oip.wire import read_request, wrap_in_stream, write_result, write_stream_error
from serving.ordered_stream import Begin, OrderedStream
from serving.security.caller import client_of
from serving.status import Failure, failure_of
from serving.trail import Arrival, received
from serving.vision import deadline_of, refuse

Context = Any  # grpc.aio.ServicerContext; grpcio has no types for it
_read_infer = reader_of(infer_pb2.ModelInferRequest)


class InferenceService:
    """The servicer. ModelInfer and ModelStreamInfer take and give bytes, any other method messages."""

    def __init__(self, parts: ServiceParts) -> None:
        self._parts = parts

    async def model_infer(self, data: bytes, context: Context) -> bytes:
        """Run the graph on tensors, or the pipeline on encoded images."""
        arrival = self._arrive(context)
        message = _read_infer(data)
        client = arrival.caller or arrival.peer
        outcome = await self._infer("ModelInfer", message, len(data), deadline_of(context), client, None)
        return outcome if isinstance(outcome, bytes) else await refuse(context, outcome)

    async def model_stream_infer(self, _: object, context: Context) -> None:
        """Answer a stream in order; a request that fails is answered in band."""
        self._arrive(context)
        parts, deadline = self._parts, deadline_of(context)
        with parts.metrics.streams_active.track_inprogress(), parts.calls.stream("ModelStreamInfer", deadline=deadline):
            stream: OrderedStream[bytes, bytes] = OrderedStream(context, parts.catalog.draining)
            answer = partial(self._answer_in_band, deadline=deadline, client=client_of(context))
            await stream.serve(await stream.read(), answer, window=parts.window)
            if parts.catalog.draining.is_set():
                await refuse(context, failure_of(DrainingError("the server is stopping"), request_id=""))

    async def ask(self, method: str, request: Message | Malformed, context: Context) -> Message:
        """Answer one of ``METHODS``."""
        self._arrive(context)
        asked = METHODS[method]

        async def answer() -> Message:
            document = await asked.work(self._parts, well_formed(request))
            return json_format.ParseDict(document, asked.gives())

        outcome = await self._parts.calls.run(
            method, answer(), deadline=deadline_of(context), client=client_of(context)
        )
        return await refuse(context, outcome) if isinstance(outcome, Failure) else outcome

    def _arrive(self, context: Context) -> Arrival:
        return self._parts.calls.arrivals.grpc(context, "oip")

    async def _answer_in_band(self, data: bytes, _: Begin, *, deadline: float, client: str) -> bytes:
        message = _read_infer(data)
        outcome = await self._infer("ModelStreamInfer", message, len(data), deadline, client, True)
        if isinstance(outcome, bytes):
            self._parts.metrics.frames_answered.inc()
            return wrap_in_stream(outcome)
        self._parts.metrics.frames_failed.inc()
        request_id = "" if isinstance(message, Malformed) else message.id
        return write_stream_error(f"{outcome.status.grpc.name}: {outcome.message}", request_id)

    async def _infer(
        self,
        method: str,
        message: infer_pb2.ModelInferRequest | Malformed,
        size: int,
        deadline: float,
        client: str,
        is_final: bool | None,
    ) -> bytes | Failure:
        memory = self._parts.memory

        async def work() -> bytes:
            received(size)
            request = read_request(well_formed(message), memory, max_elements=self._parts.max_elements)
            result = await self._parts.inference.infer(request, deadline=deadline, client=client)
            return write_result(result, request, memory, is_final=is_final)

        return await self._parts.calls.run(method, work(), deadline=deadline, client=client, **_named(message))


def _named(message: infer_pb2.ModelInferRequest | Malformed) -> dict[str, Any]:
    """Model and version that a request names; nothing where it cannot be read."""
    if isinstance(message, Malformed):
        return {}
    version = message.model_version
    return {"model": message.model_name, "version": int(version) if version.isdecimal() and len(version) < 10 else 0}
