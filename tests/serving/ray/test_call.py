import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest

from pipelines.errors import InvalidRequestError, OverloadedError
from serving.ray.call import HandedCall, Outlet, RefusedError, know
from serving.ray.messages import Question
from serving.request_id import REQUEST_ID
from serving.status import failure_of
from serving.vision import refuse
from tests.serving.servers import PATIENCE_S


def test_time_runs_from_what_was_left_when_the_question_came():
    call = HandedCall(Question(b"", 5.0, "peer"))
    first = call.time_remaining()
    assert first is not None
    assert 4.0 < first <= 5.0
    assert call.time_remaining() <= first
    assert HandedCall(Question(b"", -1.0, "peer")).time_remaining() == 0.0
    assert HandedCall(Question(b"", None, "peer")).time_remaining() is None


@pytest.mark.parametrize(
    "error", [InvalidRequestError("must be so, got that"), OverloadedError("full", retry_after_s=0.125)]
)
async def test_a_refusal_travels_with_its_code_words_reason_and_hint(error: Exception):
    told = failure_of(error, request_id="")
    with pytest.raises(RefusedError) as caught:
        await refuse(HandedCall(Question(b"", None, "peer")), told)
    failure = caught.value.failure
    assert (failure.status.grpc, failure.reason, failure.message, failure.retry_after_s) == (
        told.status.grpc,
        told.reason,
        told.message,
        told.retry_after_s,
    )


async def test_an_end_without_details_keeps_its_code():
    with pytest.raises(RefusedError) as caught:
        await HandedCall(Question(b"", None, "peer")).abort(grpc.StatusCode.NOT_FOUND, "no such thing")
    assert caught.value.failure.status.grpc is grpc.StatusCode.NOT_FOUND


async def test_a_call_keeps_the_id_that_it_came_with_and_others_get_one():
    known = know(Question(b"", None, "peer", [(REQUEST_ID, "mine-1"), ("other", "kept")]))
    assert dict(known.question.metadata) == {REQUEST_ID: "mine-1", "other": "kept"}
    assert dict(known.headers)[REQUEST_ID] == "mine-1"
    fresh = know(Question(b"", None, "peer"))
    assert dict(fresh.question.metadata)[REQUEST_ID] == dict(fresh.headers)[REQUEST_ID]


def writing(outlet: Outlet, count: int, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        for number in range(count):
            await outlet.write(bytes([number]))
        if error:
            raise error

    return work


@pytest.mark.parametrize("count", [0, 1, 2, 20])
async def test_all_that_is_written_comes_out_in_order(count: int):
    outlet = Outlet()
    assert [data async for data in outlet.drain(writing(outlet, count)())] == [bytes([n]) for n in range(count)]


async def test_what_was_written_before_an_error_comes_out_before_it():
    outlet = Outlet()
    answers = outlet.drain(writing(outlet, 3, InvalidRequestError("no"))())
    assert [await anext(answers) for _ in range(3)] == [b"\x00", b"\x01", b"\x02"]
    with pytest.raises(InvalidRequestError):
        await anext(answers)


async def test_work_ends_where_the_iteration_is_left():
    outlet, ended = Outlet(), asyncio.Event()

    async def work() -> None:
        try:
            await outlet.write(b"first")
            await asyncio.Event().wait()
        finally:
            ended.set()

    answers = outlet.drain(work())
    assert await anext(answers) == b"first"
    await answers.aclose()
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
