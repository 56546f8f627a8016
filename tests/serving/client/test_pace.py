"""How far the images of a stream run ahead of the answers that were taken."""

import threading

import pytest

from pipelines.errors import InvalidRequestError
from serving.client import AsyncVisionClient, Prediction, VisionClient
from serving.client.pace import Pace, ahead_of
from tests.serving.servers import PATIENCE_S


@pytest.mark.parametrize(("window", "ahead"), [(0, 16), (1, 2), (5, 10)])
def test_two_windows_may_be_on_their_way(window: int, ahead: int):
    assert ahead_of(window) == ahead


def test_a_source_is_asked_for_no_more_than_there_is_room_for():
    asked: list[int] = []
    full = threading.Event()

    def source():
        for i in range(6):
            asked.append(i)
            yield b""

    got: list[bytes] = []
    with Pace(2) as pace:

        def take():
            for image in pace.of(source()):
                got.append(image)
                if len(got) in (2, 3):
                    full.set()

        thread = threading.Thread(target=take)
        thread.start()
        assert full.wait(PATIENCE_S)
        assert asked == [0, 1]
        full.clear()
        pace.taken()
        assert full.wait(PATIENCE_S)
        assert asked == [0, 1, 2]
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert asked == [0, 1, 2]


def test_without_a_bound_all_come_at_once():
    with Pace(None) as pace:
        assert list(pace.of([b""] * 100)) == [b""] * 100


def test_a_slow_reader_slows_its_source_down(blocking_client: VisionClient, photos: list[bytes]):
    asked: list[int] = []

    def source():
        for i in range(100):
            asked.append(i)
            yield photos[0]

    stream = blocking_client.predict_stream("classes", source(), window=2)
    assert [type(next(stream)) for _ in range(3)] == [Prediction] * 3
    assert len(asked) <= 3 + ahead_of(2)
    stream.close()


async def test_a_slow_asynchronous_reader_does_so_too(client: AsyncVisionClient, photos: list[bytes]):
    asked: list[int] = []

    def source():
        for i in range(100):
            asked.append(i)
            yield photos[0]

    stream = client.predict_stream("classes", source(), window=2)
    assert [type(await anext(stream)) for _ in range(3)] == [Prediction] * 3
    assert len(asked) <= 3 + 1 + ahead_of(2)
    await stream.aclose()


def test_a_word_that_is_no_policy_is_refused(blocking_client: VisionClient):
    with pytest.raises(InvalidRequestError, match="when_full must be one of"):
        next(blocking_client.predict_stream("classes", [b""], when_full="drop"))
