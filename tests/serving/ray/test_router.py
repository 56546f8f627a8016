"""Requests to replicas that answer, are lost, hang or are full; Ray's part is played by handles of our own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from ray.exceptions import ActorDiedError
from ray.serve.exceptions import BackPressureError

from protos.ocella.v1 import vision_pb2 as pb
from serving.metrics import Metrics
from serving.ray.messages import Question
from serving.ray.router import Router
from serving.ray.standing import Standing, State
from serving.status import Failure
from tests.serving.servers import PATIENCE_S

REQUEST = pb.PredictRequest(model="cats", image=b"image").SerializeToString()


class Response:
    """What Ray gives for a call: awaited for one answer, iterated for many."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self._answer = answer
        self.cancelled = False

    def __await__(self) -> Any:
        return self._work().__await__()

    async def _work(self) -> Any:
        answered = self._answer()
        return await answered if asyncio.iscoroutine(answered) else answered

    def __aiter__(self) -> "Response":
        return self

    async def __anext__(self) -> Any:
        return await self._work()

    def cancel(self) -> None:
        self.cancelled = True


class Handle:
    """Answers in turn as told; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, Question]] = []
        self.responses: list[Response] = []
        self.unary = self.many = self

    def options(self, *, stream: bool) -> "Handle":
        assert stream
        return self

    def remote(self, method: str, question: Question) -> Response:
        self.asked.append((method, question))
        self.responses.append(Response(self._next))
        return self.responses[-1]

    def _next(self) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer


def router(handle: Handle, *, metrics: Metrics | None = None, state: State | None = None) -> Router:
    standing = Standing()
    standing.put({"cats": state or State(1, settled=True, reason="")})
    return Router({"cats": handle}, standing, metrics or Metrics())


def code_of(outcome: Any) -> grpc.StatusCode:
    assert isinstance(outcome, Failure)
    return outcome.status.grpc


async def hang() -> None:
    await asyncio.Event().wait()


async def test_an_answer_is_handed_on_as_it_is():
    handle = Handle(b"answer")
    assert await router(handle).ask("Predict", Question(REQUEST, None, "peer")) == b"answer"
    assert handle.asked == [("Predict", Question(REQUEST, None, "peer"))]


async def test_the_replica_is_told_how_much_time_is_left_then():
    handle = Handle(b"answer")
    await router(handle).ask("Predict", Question(REQUEST, 5.0, "peer"))
    assert 4.0 < handle.asked[0][1].remaining_s < 5.0


async def test_a_request_whose_replica_dies_is_asked_of_another_one():
    handle = Handle(ActorDiedError(), b"answer")
    assert await router(handle).ask("Predict", Question(REQUEST, None, "peer")) == b"answer"


async def test_a_caller_is_told_to_come_again_where_the_second_replica_dies_as_well():
    handle = Handle(ActorDiedError(), ActorDiedError(), b"answer")
    outcome = await router(handle).ask("Predict", Question(REQUEST, None, "peer"))
    assert code_of(outcome) is grpc.StatusCode.UNAVAILABLE


async def test_replicas_that_are_full_refuse_with_a_hint_when_to_come_again():
    outcome = await router(Handle(BackPressureError(9, 8))).ask("Predict", Question(REQUEST, None, "peer"))
    assert code_of(outcome) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert outcome.retry_after_s > 0


async def test_a_request_ends_at_its_deadline_and_so_does_the_work_of_its_replica():
    handle = Handle(hang)
    start = time.monotonic()
    outcome = await router(handle).ask("Predict", Question(REQUEST, 0.1, "peer"))
    assert code_of(outcome) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < PATIENCE_S
    assert handle.responses[0].cancelled


async def test_work_ends_where_the_caller_leaves():
    handle = Handle(hang)
    asking = asyncio.create_task(router(handle).ask("Predict", Question(REQUEST, None, "peer")))
    while not handle.asked:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait((asking,))
    assert asking.cancelled()
    assert handle.responses[0].cancelled


async def test_a_fault_tells_nothing_but_an_id_and_is_in_the_log(caplog: pytest.LogCaptureFixture):
    outcome = await router(Handle(ValueError("secret"))).ask("Predict", Question(REQUEST, None, "peer"))
    assert code_of(outcome) is grpc.StatusCode.INTERNAL
    assert "secret" not in outcome.message
    assert "secret" in caplog.text
    assert outcome.request_id in caplog.text


@pytest.mark.parametrize(
    ("data", "state", "code", "said"),
    [
        (pb.PredictRequest(model="dogs").SerializeToString(), None, grpc.StatusCode.NOT_FOUND, "no model is called"),
        (b"\xff", None, grpc.StatusCode.INVALID_ARGUMENT, "must be a protobuf message PredictRequest"),
        (
            REQUEST,
            State(0, settled=True, reason="recipe changed"),
            grpc.StatusCode.UNAVAILABLE,
            "cats is not ready: recipe changed",
        ),
    ],
)
async def test_what_no_replica_can_answer_is_refused_and_counted_here(
    data: bytes, state: State | None, code: grpc.StatusCode, said: str
):
    handle, metrics = Handle(), Metrics()
    outcome = await router(handle, metrics=metrics, state=state).ask("Predict", Question(data, None, "peer"))
    assert code_of(outcome) is code
    assert said in outcome.message
    assert handle.asked == []
    counted = [
        sample.labels["code"]
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "ocella_requests_total" and sample.value
    ]
    assert counted == [code.name]


async def answers_of(asked: AsyncIterator[Any]) -> list[Any]:
    return [outcome async for outcome in asked]


async def test_many_answers_come_one_by_one():
    handle = Handle(b"one", b"two", StopAsyncIteration())
    assert await answers_of(router(handle).stream("PredictTiles", Question(REQUEST, None, "peer"))) == [b"one", b"two"]


async def test_a_failure_is_the_last_of_many_answers():
    handle = Handle(b"one", ActorDiedError())
    first, last = await answers_of(router(handle).stream("PredictTiles", Question(REQUEST, None, "peer")))
    assert first == b"one"
    assert code_of(last) is grpc.StatusCode.UNAVAILABLE


async def test_many_answers_end_at_the_deadline():
    handle = Handle(b"one", hang)
    _, last = await answers_of(router(handle).stream("PredictTiles", Question(REQUEST, 0.1, "peer")))
    assert code_of(last) is grpc.StatusCode.DEADLINE_EXCEEDED
    assert handle.responses[0].cancelled
