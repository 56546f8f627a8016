import threading
from collections.abc import Sequence

import pytest

from serving.outbox import Outbox
from tests.serving.servers import PATIENCE_S


class Receiver:
    """Takes lots while its gate is open."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.dropped = 0
        self.lots = 0
        self.entered, self.gate = threading.Semaphore(0), threading.Event()

    def __call__(self, items: Sequence[int], dropped: int) -> None:
        self.entered.release()
        assert self.gate.wait(PATIENCE_S), "the test never opened the gate"
        self.items += items
        self.dropped += dropped
        self.lots += 1


def outbox(receiver: object, capacity: int = 1000) -> Outbox[int]:
    return Outbox(receiver, name="test", capacity=capacity, gather_s=0.0)  # type: ignore[arg-type]


def test_items_of_many_threads_all_arrive_each_threads_in_their_order():
    receiver = Receiver()
    receiver.gate.set()
    box = outbox(receiver, capacity=100_000)
    threads = [
        threading.Thread(target=lambda first: [box.put(first + i) for i in range(2000)], args=(n * 10_000,))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    box.close(timeout_s=PATIENCE_S)
    assert len(receiver.items) == 8000
    for n in range(4):
        own = [item for item in receiver.items if item // 10_000 == n]
        assert own == [n * 10_000 + i for i in range(2000)]


def test_an_item_put_after_a_pause_wakes_the_thread_again():
    receiver = Receiver()
    receiver.gate.set()
    box = outbox(receiver)
    for i in range(50):
        box.put(i)
        assert receiver.entered.acquire(timeout=PATIENCE_S)
    box.close(timeout_s=PATIENCE_S)
    assert receiver.items == list(range(50))


def test_what_finds_no_room_is_dropped_and_counted():
    receiver = Receiver()
    box = outbox(receiver, capacity=3)
    box.put(0)
    assert receiver.entered.acquire(timeout=PATIENCE_S)  # the thread is inside, and its queue empty
    for i in range(1, 8):
        box.put(i)
    receiver.gate.set()
    box.close(timeout_s=PATIENCE_S)
    assert receiver.items == [0, 1, 2, 3]
    assert receiver.dropped == 4


def test_items_that_wait_come_as_one_lot():
    receiver = Receiver()
    box = outbox(receiver)
    box.put(0)
    assert receiver.entered.acquire(timeout=PATIENCE_S)
    for i in range(1, 100):
        box.put(i)
    receiver.gate.set()
    box.close(timeout_s=PATIENCE_S)
    assert (len(receiver.items), receiver.lots) == (100, 2)


def test_closing_delivers_what_waits():
    receiver = Receiver()
    receiver.gate.set()
    box = Outbox(receiver, name="test", capacity=10, gather_s=PATIENCE_S)
    box.put(7)
    box.close(timeout_s=PATIENCE_S)
    assert receiver.items == [7]


def test_closing_gives_up_on_a_receiver_that_hangs():
    receiver = Receiver()
    box = outbox(receiver)
    box.put(0)
    assert receiver.entered.acquire(timeout=PATIENCE_S)
    box.close(timeout_s=0.01)
    assert receiver.items == []
    receiver.gate.set()


def test_a_lot_that_fails_does_not_end_the_thread(caplog: pytest.LogCaptureFixture):
    got: list[int] = []
    failed = threading.Event()

    def deliver(items: Sequence[int], _: int) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("bad lot")
        got.extend(items)

    box = outbox(deliver)
    box.put(1)
    assert failed.wait(PATIENCE_S)
    box.put(2)
    box.close(timeout_s=PATIENCE_S)
    assert got[-1:] == [2]
    assert "test could not be delivered" in caplog.text
