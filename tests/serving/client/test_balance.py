from collections import Counter

import pytest

from pipelines.errors import DrainingError, InvalidRequestError, OverloadedError
from serving.client import AsyncVisionClient, Retry, VisionClient
from serving.client.balance import Rotation
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.client.test_retry import Clock
from tests.serving.servers import PATIENCE_S

NOBODY = "127.0.0.1:1"


def test_servers_are_picked_in_turn():
    rotation = Rotation(3)
    assert [rotation.pick() for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_one_that_rests_is_left_out_until_its_rest_ends():
    clock = Clock()
    rotation = Rotation(3, clock=clock)
    rotation.rest(1, 5.0)
    assert [rotation.pick() for _ in range(4)] == [0, 2, 0, 2]
    clock.now += 5
    assert sorted(rotation.pick() for _ in range(3)) == [0, 1, 2]


def test_one_that_answers_rests_no_more():
    rotation = Rotation(2, clock=Clock())
    rotation.rest(0, 5.0)
    rotation.wake(0)
    assert sorted(rotation.pick() for _ in range(2)) == [0, 1]


def test_where_all_rest_the_one_that_is_due_first_is_picked():
    clock = Clock()
    rotation = Rotation(2, clock=clock)
    rotation.rest(0, 5.0)
    rotation.rest(1, 3.0)
    assert rotation.wait_s() == 3.0
    assert [rotation.pick() for _ in range(2)] == [1, 1]


async def test_both_clients_ask_several_servers_in_turn():
    servicers = [Scripted("a"), Scripted("b")]
    with serving(servicers[0]) as a, serving(servicers[1]) as b:
        with VisionClient([a, b], timeout_s=PATIENCE_S) as client:
            assert Counter(client.predict("m", b"").model for _ in range(10)) == {"a": 5, "b": 5}
        async with AsyncVisionClient((a, b), timeout_s=PATIENCE_S) as client:
            answers = [await client.predict("m", b"") for _ in range(10)]
    assert Counter(answer.model for answer in answers) == {"a": 5, "b": 5}


async def test_a_server_that_is_away_costs_no_answer():
    with serving(Scripted("here")) as here:
        with VisionClient([NOBODY, here], timeout_s=PATIENCE_S) as client:
            assert [client.predict("m", b"").model for _ in range(6)] == ["here"] * 6
        async with AsyncVisionClient([NOBODY, here], timeout_s=PATIENCE_S) as client:
            assert [(await client.predict("m", b"")).model for _ in range(6)] == ["here"] * 6


@pytest.mark.parametrize("refusal", [DrainingError("stopping"), OverloadedError("full", retry_after_s=1000.0)])
def test_what_one_server_refuses_another_answers_at_once(refusal: DrainingError | OverloadedError):
    long = Retry(first_pause_s=1000.0, max_pause_s=1000.0)
    with (
        serving(Scripted("busy", [refusal] * 9)) as busy,
        serving(Scripted("free")) as free,
        VisionClient([busy, free], timeout_s=PATIENCE_S, retry=long) as client,
    ):
        assert [client.predict("m", b"").model for _ in range(4)] == ["free"] * 4


def test_no_server_at_all_is_refused():
    with pytest.raises(InvalidRequestError, match="got none"):
        VisionClient([])
