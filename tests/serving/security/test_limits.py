import pytest

from pipelines.errors import OverloadedError
from serving.security.limits import PerClient, RateLimit, Uploads, address_of


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(limit: RateLimit, client: str, times: int) -> int:
    """How many of so many requests are let in."""
    count = 0
    for _ in range(times):
        try:
            limit.take(client)
        except OverloadedError:
            continue
        count += 1
    return count


def test_a_seconds_worth_is_let_in_at_once_and_then_the_rate():
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    assert taken(limit, "a", 100) == 10
    for _ in range(5):
        clock.now += 0.5
        assert taken(limit, "a", 100) == 5


def test_a_client_that_waited_for_hours_has_no_more_than_a_seconds_worth():
    clock = Clock()
    limit = RateLimit(3, clock=clock)
    taken(limit, "a", 3)
    clock.now += 10_000
    assert taken(limit, "a", 100) == 3


def test_clients_do_not_share_their_rate():
    limit = RateLimit(2, clock=Clock())
    assert (taken(limit, "a", 9), taken(limit, "b", 9)) == (2, 2)


def test_less_than_one_a_second_lets_one_in():
    clock = Clock()
    limit = RateLimit(0.1, clock=clock)
    assert taken(limit, "a", 5) == 1
    clock.now += 10
    assert taken(limit, "a", 5) == 1


def test_a_refusal_says_when_there_is_room_again():
    clock = Clock()
    limit = RateLimit(4, clock=clock)
    taken(limit, "a", 4)
    with pytest.raises(OverloadedError, match=r"may ask 4 times a second") as refused:
        limit.take("a")
    assert refused.value.reason == "rate"
    assert refused.value.retry_after_s == pytest.approx(0.25)
    clock.now += refused.value.retry_after_s
    limit.take("a")


def test_clients_that_ask_no_more_are_forgotten():
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    for i in range(25_000):
        clock.now += 0.001
        limit.take(str(i))
    assert len(limit) <= 10_001


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:5555", "10.0.0.1"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:5555", "2001:db8:1:2::"),
        ("ipv6:[::ffff:10.0.0.1]:5555", "10.0.0.1"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5555", "fe80::"),
        ("http:10.0.0.1:5555", "10.0.0.1"),
        ("http:2001:db8:1:2::9:5555", "2001:db8:1:2::"),
        ("http", "http"),
        ("unix:", "unix:"),
        ("camera-1", "camera-1"),
    ],
)
def test_a_client_is_its_address_without_the_port(peer: str, address: str):
    assert address_of(peer) == address


def test_what_a_client_has_open_is_counted_until_it_ends():
    streams = PerClient("streams", 2)
    streams.enter("a")
    streams.enter("a")
    streams.enter("b")
    with pytest.raises(OverloadedError, match="a client may have 2 streams open, this one has") as refused:
        streams.enter("a")
    assert refused.value.reason == "streams"
    streams.leave("a")
    streams.enter("a")


def test_a_client_that_has_nothing_open_is_forgotten():
    streams = PerClient("streams", 2)
    for i in range(100):
        streams.enter(str(i))
        streams.leave(str(i))
    assert len(streams) == 0


def test_bodies_on_their_way_are_counted_until_they_came_or_broke():
    uploads = Uploads(most=1, most_bytes=100)
    with uploads.open(), pytest.raises(OverloadedError, match="at most 1 bodies may be on their way"), uploads.open():
        pass
    with pytest.raises(KeyError), uploads.open():
        raise KeyError
    with uploads.open():
        pass


def test_bytes_of_bodies_on_their_way_are_bounded_in_sum():
    uploads = Uploads(most=10, most_bytes=100)
    with uploads.open() as first, uploads.open() as second:
        first.grow(60)
        with pytest.raises(OverloadedError, match="may hold 100 bytes, they hold 60") as refused:
            second.grow(41)
        assert refused.value.reason == "upload_bytes"
        second.grow(40)
    with uploads.open() as third:
        third.grow(100)
