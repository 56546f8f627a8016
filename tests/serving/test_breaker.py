import pytest

from serving.breaker import Breaker


def outcomes(breaker: Breaker, text: str) -> list[bool]:
    """Record ``+`` as answered and ``-`` as failed; which of them opened the breaker."""
    return [breaker.record(ok=sign == "+") for sign in text]


@pytest.mark.parametrize(
    ("rate", "text", "opens_at"),
    [
        (0.5, "++--", 3),
        (0.5, "---", None),  # fewer than are judged by
        (0.5, "+++-+-", 5),
        (0.5, "+++-+++-", None),
        (1.0, "----", 3),
        (1.0, "---+---", None),
        (1.0, "+----", 4),
    ],
)
def test_it_opens_when_enough_of_the_latest_calls_failed(rate: float, text: str, opens_at: int | None):
    opened = outcomes(Breaker(calls=4, failure_rate=rate), text)
    assert opened == [i == opens_at for i in range(len(text))]


def test_it_opens_once_and_stays_open_whatever_comes():
    breaker = Breaker(calls=2, failure_rate=0.5)
    assert outcomes(breaker, "--++") == [False, True, False, False]
    assert breaker.is_open


def test_closing_forgets_what_was_counted():
    breaker = Breaker(calls=2, failure_rate=1.0)
    outcomes(breaker, "--")
    breaker.close()
    assert not breaker.is_open
    assert outcomes(breaker, "-") == [False]
    assert outcomes(breaker, "-") == [True]


def test_it_says_what_it_counted():
    breaker = Breaker(calls=3, failure_rate=0.5)
    outcomes(breaker, "+--")
    assert breaker.words == "2 of the last 3 requests failed"
