"""Streams of requests in a router: answered in order, each request by whichever replica is free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from grpc.aio import EOF  # type: ignore[attr-defined]  # grpc-stubs lack it

from protos.ocella.v1 import vision_pb2 as pb
from serving.handlers import Malformed, reader_of, well_formed
from serving.ordered_stream import Begin, OrderedStream
from serving.ray.call import HandedCall, Outlet
from serving.ray.messages import Question
from serving.ray.router import Router
from serving.ray.wire import fail_frame, fail_infer
from serving.status import Failure
from serving.wire import read_window
from serving.wire_streams import read_drops, write_dropped

_read_frame = reader_of(pb.PredictRequest)
T = TypeVar("T")


class Streams:
    """The two methods that take streams."""

    def __init__(self, router: Router, *, window: int) -> None:
        """``window``: requests of one stream in work at once, where the client does not say."""
        self._router = router
        self._window = window
        self._never = asyncio.Event()  # Ray itself lets streams end before it ends a router

    async def predict(self, requests: AsyncIterator[Question]) -> AsyncIterator[bytes]:
        """``PredictStream``; raises InvalidRequestError where the first request asks for a window that cannot be."""
        first = await anext(requests, None)
        asked = pb.PredictRequest() if first is None else _readable(first)
        window, drops = read_window(asked, default=self._window), read_drops(asked)
        async for data in self._serve("PredictStream", first, requests, fail_frame, window, _drop if drops else None):
            yield data

    async def infer(self, requests: AsyncIterator[Question]) -> AsyncIterator[bytes]:
        """``ModelStreamInfer``."""
        first = await anext(requests, None)
        async for data in self._serve("ModelStreamInfer", first, requests, fail_infer, self._window, None):
            yield data

    async def _serve(
        self,
        method: str,
        first: Question | None,
        requests: AsyncIterator[Question],
        fail: Callable[[Failure, bytes], bytes],
        window: int,
        drop: Callable[[Question], bytes] | None,
    ) -> AsyncIterator[bytes]:
        outlet = Outlet()

        async def read() -> Any:
            return await anext(requests, EOF)

        async def answer(question: Question, begin: Begin) -> bytes:
            begin()
            outcome = await self._router.ask(method, question)
            return fail(outcome, question.data) if isinstance(outcome, Failure) else outcome

        call = HandedCall(first or Question(b"", None, ""), read=read, write=outlet.write)
        stream: OrderedStream[Question, bytes] = OrderedStream(call, self._never)
        async for data in outlet.drain(stream.serve(first, answer, window=window, drop=drop)):
            yield data


def _readable(question: Question) -> pb.PredictRequest:
    """The first request; where its bytes were none, one that says nothing: it is refused in band."""
    request = _read_frame(question.data)
    return pb.PredictRequest() if isinstance(request, Malformed) else request


def _drop(question: Question) -> bytes:
    return write_dropped(well_formed(_read_frame(question.data))).SerializeToString()
