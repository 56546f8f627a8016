import math

import grpc
import pytest

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    ImageDecodeError,
    InvalidRequestError,
    ModelNotReadyError,
    OcellaError,
    OverloadedError,
    ServerFaultError,
    ServiceUnavailableError,
    UnknownModelError,
)
from serving.client import AsyncVisionClient, Retry, VisionClient
from serving.client.balance import Rotation
from serving.client.retry import Attempts, Deadline
from tests.serving.client.plain_servers import Scripted, serving
from tests.serving.servers import PATIENCE_S

SOON = Retry(max_attempts=4, first_pause_s=0.001, max_pause_s=0.002)
PASSING = [
    DrainingError("stopping"),
    ModelNotReadyError("loading"),
    OverloadedError("full", retry_after_s=0.001),
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
]
LASTING = [
    (DeadlineExceededError("late"), DeadlineExceededError),
    (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
    (InvalidRequestError("no"), InvalidRequestError),
    (ImageDecodeError("no"), ImageDecodeError),
    (UnknownModelError("no"), UnknownModelError),
    (grpc.StatusCode.INTERNAL, ServerFaultError),
    (grpc.StatusCode.CANCELLED, ServiceUnavailableError),
]


def name_of(value: object) -> str:
    return getattr(value, "name", type(value).__name__)


@pytest.mark.parametrize("refusal", PASSING, ids=name_of)
async def test_what_passes_is_tried_again_by_both_clients(refusal: OcellaError | grpc.StatusCode):
    servicer = Scripted(refusals=[refusal, refusal, refusal, refusal])
    with serving(servicer) as address:
        with VisionClient(address, timeout_s=PATIENCE_S, retry=SOON) as client, pytest.raises(OcellaError):
            client.predict("m", b"image")
        assert servicer.calls == SOON.max_attempts
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S, retry=SOON) as client:
            assert (await client.predict("m", b"image", id="seven")).id == "seven"
    again = Scripted(refusals=[refusal] * 3)
    with serving(again) as address, VisionClient(address, timeout_s=PATIENCE_S, retry=SOON) as client:
        assert client.predict("m", b"image", id="seven").id == "seven"
    assert again.calls == SOON.max_attempts


@pytest.mark.parametrize(("refusal", "error"), LASTING, ids=name_of)
async def test_nothing_else_is_tried_again(refusal: OcellaError | grpc.StatusCode, error: type[OcellaError]):
    servicer = Scripted(refusals=[refusal, refusal])
    with serving(servicer) as address:
        with VisionClient(address, timeout_s=PATIENCE_S, retry=SOON) as client, pytest.raises(error):
            client.predict("m", b"image")
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S, retry=SOON) as client:
            with pytest.raises(error):
                await client.predict("m", b"image")
    assert servicer.calls == 2


async def test_without_retries_one_refusal_is_the_answer():
    servicer = Scripted(refusals=[DrainingError("stopping")] * 2)
    with serving(servicer) as address:
        with VisionClient(address, timeout_s=PATIENCE_S, retry=None) as client, pytest.raises(DrainingError):
            client.predict("m", b"image")
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S, retry=None) as client:
            with pytest.raises(DrainingError):
                await client.predict("m", b"image")
    assert servicer.calls == 2


async def test_a_hint_that_does_not_fit_the_deadline_is_not_waited_for():
    servicer = Scripted(refusals=[OverloadedError("full", retry_after_s=1000.0)] * 2)
    with serving(servicer) as address:
        with VisionClient(address, timeout_s=PATIENCE_S) as client, pytest.raises(OverloadedError) as raised:
            client.predict("m", b"image")
        async with AsyncVisionClient(address, timeout_s=PATIENCE_S) as client:
            with pytest.raises(OverloadedError):
                await client.predict("m", b"image")
    assert raised.value.retry_after_s == 1000.0
    assert servicer.calls == 2


def test_pauses_double_up_to_the_longest_and_keep_a_longer_hint():
    retry = Retry(first_pause_s=0.5, max_pause_s=2.0)
    away = ServiceUnavailableError("away")
    assert [retry.pause_s(away, attempt, lambda: 0.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 2.0]
    assert retry.pause_s(away, 1, lambda: 1.0) == 0.625
    assert retry.pause_s(OverloadedError("full", retry_after_s=7.0), 1, lambda: 0.0) == 7.0


@pytest.mark.parametrize("fields", [{"max_attempts": 0}, {"first_pause_s": -1.0}, {"first_pause_s": math.nan}])
def test_a_retry_that_cannot_be_kept_is_refused(fields: dict[str, float]):
    with pytest.raises(InvalidRequestError):
        Retry(**fields)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_counts_down_to_nothing_and_none_never_comes():
    clock = Clock()
    deadline = Deadline(5.0, clock=clock)
    clock.now += 2
    assert (deadline.left_s(), deadline.allows(2.9), deadline.allows(3.0)) == (3.0, True, False)
    clock.now += 9
    assert (deadline.left_s(), deadline.allows(0.0)) == (0.0, False)
    never = Deadline(None, clock=clock)
    assert (never.left_s(), never.allows(1e9)) == (None, True)


def test_another_server_is_asked_at_once_and_the_same_one_after_its_pause():
    clock = Clock()
    rotation = Rotation(2, clock=clock)
    attempts = Attempts(rotation, Retry(max_attempts=3, first_pause_s=1.0), Deadline(None))
    away = ServiceUnavailableError("away")
    first, _ = attempts.begin()
    assert attempts.wait_s(first, grpc.StatusCode.UNAVAILABLE, away) == 0.0
    second, _ = attempts.begin()
    assert {first, second} == {0, 1}
    assert 1.0 <= attempts.wait_s(second, grpc.StatusCode.UNAVAILABLE, away) <= 1.25
    attempts.begin()
    with pytest.raises(ServiceUnavailableError):
        attempts.wait_s(first, grpc.StatusCode.UNAVAILABLE, away)
