"""Streams in a router; the replicas' part is played by a router of our own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from pipelines.errors import InvalidRequestError, ModelNotReadyError
from protos.ocella.v1 import vision_pb2 as pb
from protos.oip import infer_pb2
from serving.ray.messages import Outcome, Question
from serving.ray.streams import Streams
from serving.status import failure_of

LOST = failure_of(ModelNotReadyError("lost"), request_id="")


class EchoRouter:
    """Answers with the request's id, later ones sooner; fails those whose image is ``lost``."""

    def __init__(self) -> None:
        self.inside = self.most_inside = 0

    async def ask(self, method: str, question: Question) -> Outcome:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        for _ in range(20 - len(question.data) % 20):
            await asyncio.sleep(0)
        self.inside -= 1
        if b"lost" in question.data:
            return LOST
        if method == "ModelStreamInfer":
            return b"infer"
        return pb.PredictResponse(id=pb.PredictRequest.FromString(question.data).id).SerializeToString()


def request(number: int, image: bytes = b"image", **fields: object) -> Question:
    message = pb.PredictRequest(model="cats", id=str(number), image=image * (1 + number % 3), **fields)
    return Question(message.SerializeToString(), None, "peer")


async def source(*questions: Question) -> AsyncIterator[Question]:
    for question in questions:
        yield question


async def answers_to(*questions: Question, router: EchoRouter | None = None) -> list[pb.PredictResponse]:
    streams = Streams(router or EchoRouter(), window=4)
    return [pb.PredictResponse.FromString(data) async for data in streams.predict(source(*questions))]


@pytest.mark.parametrize("count", [0, 1, 2, 30])
async def test_answers_come_in_the_order_of_the_requests(count: int):
    answers = await answers_to(*(request(number) for number in range(count)))
    assert [answer.id for answer in answers] == [str(number) for number in range(count)]


async def test_no_more_are_in_work_than_the_window_asks_for():
    router = EchoRouter()
    window = pb.StreamOptions(window=2)
    await answers_to(*(request(number, stream_options=window) for number in range(20)), router=router)
    assert router.most_inside == 2


async def test_a_request_that_fails_is_answered_in_band_and_the_stream_goes_on():
    first, second, third = await answers_to(request(0), request(1, b"lost"), request(2))
    assert (second.id, second.error.reason, second.error.message) == ("1", "ModelNotReadyError", "lost")
    assert (first.id, third.id) == ("0", "2")


async def test_bytes_that_are_no_message_are_answered_in_band():
    router = EchoRouter()
    assert len(await answers_to(Question(b"\xff lost", None, "peer"), request(1), router=router)) == 2


async def test_a_window_that_cannot_be_ends_the_stream():
    with pytest.raises(InvalidRequestError, match=r"stream_options\.window must be between 0 and"):
        await answers_to(request(0, stream_options=pb.StreamOptions(window=9999)))


async def test_the_newest_images_are_answered_where_a_stream_drops():
    drops = pb.StreamOptions(window=1, when_full=pb.WHEN_FULL_DROP_OLDEST)
    answers = await answers_to(*(request(number, stream_options=drops) for number in range(12)))
    assert [answer.id for answer in answers] == [str(number) for number in range(12)]
    assert any(answer.dropped for answer in answers)
    assert not answers[-1].dropped


async def test_streams_of_the_open_inference_protocol_answer_failures_in_their_own_words():
    requests = [infer_pb2.ModelInferRequest(model_name=name, id="7").SerializeToString() for name in ("cats", "lost")]
    streams = Streams(EchoRouter(), window=4)
    good, bad = [data async for data in streams.infer(source(*(Question(one, None, "peer") for one in requests)))]
    assert good == b"infer"
    failed = infer_pb2.ModelStreamInferResponse.FromString(bad)
    assert (failed.error_message, failed.infer_response.id) == ("UNAVAILABLE: lost", "7")
