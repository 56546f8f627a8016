"""The window of a stream: order, back-pressure, and which request is dropped for a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc.aio
import pytest

from serving.ordered_stream import MAX_BACKLOG, Begin, OrderedStream
from tests.serving.servers import PATIENCE_S


class Call:
    """Stands in for gRPC's context: what the client sends, and which answers it has taken."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[object] = asyncio.Queue()
        self.taken: list[str] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.reads = 0

    def send(self, *requests: str) -> None:
        for request in requests:
            self.sent.put_nowait(request)

    def end(self) -> None:
        self.sent.put_nowait(grpc.aio.EOF)

    async def read(self) -> object:
        self.reads += 1
        return await self.sent.get()

    async def write(self, answer: str) -> None:
        await self.takes.wait()
        self.taken.append(answer)


class Work:
    """Answers of requests, each when it is told so."""

    def __init__(self) -> None:
        self.begins: dict[str, Begin] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.cancelled: list[str] = []

    async def answer(self, request: str, begin: Begin) -> str:
        self.begins[request] = begin
        self.gates[request] = asyncio.Event()
        try:
            await self.gates[request].wait()
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        return request.upper()

    def begin(self, *requests: str) -> None:
        for request in requests:
            self.begins[request]()

    def finish(self, *requests: str) -> None:
        for request in requests:
            self.gates[request].set()


class Running:
    """A stream being served."""

    def __init__(self, *, window: int, drops: bool) -> None:
        self.call, self.work, self.draining = Call(), Work(), asyncio.Event()
        stream: OrderedStream[str, str] = OrderedStream(self.call, self.draining)

        async def serve() -> None:
            drop = (lambda request: f"no {request}") if drops else None
            await stream.serve(await stream.read(), self.work.answer, window=window, drop=drop)

        self.task = asyncio.create_task(serve())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Many turns of the loop: whatever can happen has happened."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def done(self) -> list[str]:
        self.call.end()
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        return self.call.taken


async def test_answers_keep_the_order_of_requests_whichever_is_ready_first():
    stream = Running(window=3, drops=False)
    stream.call.send("a", "b", "c")
    await stream.until(lambda: "c" in stream.work.gates)
    stream.work.finish("c", "b")
    await stream.settle()
    assert stream.call.taken == []
    stream.work.finish("a")
    assert await stream.done() == ["A", "B", "C"]


async def test_a_full_window_reads_no_further_until_an_answer_is_taken():
    stream = Running(window=2, drops=False)
    stream.call.send(*"abcde")
    await stream.settle()
    assert sorted(stream.work.gates) == ["a", "b"]
    assert stream.call.reads == 3  # the one that waits has been read
    stream.work.finish("b")
    await stream.settle()
    assert sorted(stream.work.gates) == ["a", "b"]  # answered, and not taken
    stream.work.finish("a")
    await stream.until(lambda: "d" in stream.work.gates)
    stream.work.finish("c", "d")
    await stream.until(lambda: "e" in stream.work.gates)
    stream.work.finish("e")
    assert await stream.done() == ["A", "B", "C", "D", "E"]


async def test_the_oldest_that_has_not_begun_is_dropped_and_answered_in_its_place():
    stream = Running(window=3, drops=True)
    stream.call.send("a", "b", "c")
    await stream.until(lambda: "c" in stream.work.gates)
    stream.work.begin("a")
    stream.call.send("d")
    await stream.until(lambda: "d" in stream.work.gates)
    assert stream.work.cancelled == ["b"]
    stream.work.finish("a", "c", "d")
    assert await stream.done() == ["A", "no b", "C", "D"]


async def test_where_all_have_begun_the_newest_waits_and_the_one_before_it_is_dropped():
    stream = Running(window=2, drops=True)
    stream.call.send("a", "b")
    await stream.until(lambda: "b" in stream.work.gates)
    stream.work.begin("a", "b")
    stream.call.send("c", "d", "e")
    await stream.settle()
    assert sorted(stream.work.gates) == ["a", "b"]
    stream.work.finish("a")
    await stream.until(lambda: "e" in stream.work.gates)
    stream.work.finish("b", "e")
    assert await stream.done() == ["A", "B", "no c", "no d", "E"]
    assert stream.work.cancelled == []


async def test_an_answer_that_the_client_has_yet_to_take_is_never_dropped():
    stream = Running(window=2, drops=True)
    stream.call.takes.clear()
    stream.call.send("a", "b")
    await stream.until(lambda: "b" in stream.work.gates)
    stream.work.finish("a", "b")  # such as a bad request, which never begins
    await stream.settle()
    stream.call.send("c", "d")
    await stream.settle()
    stream.call.takes.set()
    await stream.until(lambda: "d" in stream.work.gates)
    stream.work.finish("d")
    assert await stream.done() == ["A", "B", "no c", "D"]


@pytest.mark.parametrize("window", [1, 4])
async def test_a_client_that_never_takes_an_answer_is_read_no_further_even_where_requests_are_dropped(window: int):
    stream = Running(window=window, drops=True)
    stream.call.takes.clear()
    for i in range(3 * MAX_BACKLOG):
        stream.call.send(f"{i}")
    await stream.until(lambda: stream.call.reads >= window)
    for _ in range(10 * MAX_BACKLOG):
        stream.work.begin(*stream.work.begins)
        await asyncio.sleep(0)
    assert window + MAX_BACKLOG <= stream.call.reads <= window + MAX_BACKLOG + 2
    stream.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.task
    assert len(stream.work.cancelled) == window


async def test_a_stream_that_ends_answers_the_one_that_waits():
    stream = Running(window=1, drops=True)
    stream.call.send("a")
    await stream.until(lambda: "a" in stream.work.gates)
    stream.work.begin("a")
    stream.call.send("b")
    stream.call.end()
    await stream.settle()
    stream.work.finish("a")
    await stream.until(lambda: "b" in stream.work.gates)
    stream.work.finish("b")
    assert await stream.done() == ["A", "B"]


async def test_draining_reads_no_further_and_answers_what_is_in_work():
    stream = Running(window=2, drops=False)
    stream.call.send("a")
    await stream.until(lambda: "a" in stream.work.gates)
    stream.draining.set()
    await stream.settle()
    stream.call.send("b")
    stream.work.finish("a")
    async with asyncio.timeout(PATIENCE_S):
        await stream.task
    assert stream.call.taken == ["A"]


async def test_leaving_cancels_all_that_is_in_work():
    stream = Running(window=3, drops=False)
    stream.call.send(*"abcde")
    await stream.until(lambda: "c" in stream.work.gates)
    stream.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.task
    assert sorted(stream.work.cancelled) == ["a", "b", "c"]
