import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.fairness import LOWER_TURN, FairQueue, Priority

HIGH, NORMAL = Priority.HIGH, Priority.NORMAL


def queue_of(*items: tuple[str, Priority, str]) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue()
    for item, priority, client in items:
        queue.push(item, priority=priority, client=client)
    return queue


def drained(queue: FairQueue[str]) -> list[str]:
    items = []
    while queue:
        following = queue.peek()
        items.append(queue.pop())
        assert items[-1] == following
    return items


def test_items_of_one_client_keep_their_order():
    assert drained(queue_of(*((f"{i}", NORMAL, "a") for i in range(5)))) == list("01234")


def test_clients_take_turns_whatever_each_has_waiting():
    many = [(f"a{i}", NORMAL, "a") for i in range(4)]
    assert drained(queue_of(*many, ("b0", NORMAL, "b"), ("c0", NORMAL, "c"))) == ["a0", "b0", "c0", "a1", "a2", "a3"]


def test_high_priority_goes_first():
    assert drained(queue_of(("n", NORMAL, "a"), ("h", HIGH, "b"), ("i", HIGH, "a"))) == ["h", "i", "n"]


def test_a_flood_of_high_priority_delays_the_lower_one_and_does_not_stop_it():
    items = [(f"h{i}", HIGH, "a") for i in range(LOWER_TURN * 3)] + [(f"n{i}", NORMAL, "b") for i in range(2)]
    order = drained(queue_of(*items))
    assert [order.index("n0"), order.index("n1")] == [LOWER_TURN - 1, 2 * LOWER_TURN - 1]


def test_the_heads_are_the_first_of_each_client_and_priority():
    queue = queue_of(("a0", NORMAL, "a"), ("a1", NORMAL, "a"), ("b0", HIGH, "b"), ("a2", HIGH, "a"))
    assert sorted(queue.heads()) == ["a0", "a2", "b0"]


def test_an_item_is_taken_out_from_anywhere_once():
    queue = queue_of(("a0", NORMAL, "a"), ("a1", NORMAL, "a"), ("b0", NORMAL, "b"))
    assert queue.remove("a1", priority=NORMAL, client="a")
    assert not queue.remove("a1", priority=NORMAL, client="a")
    assert not queue.remove("b0", priority=HIGH, client="b")
    assert drained(queue) == ["a0", "b0"]


def test_an_empty_queue_is_false_and_gives_nothing():
    queue = queue_of()
    assert not queue
    assert list(queue) == []
    with pytest.raises(IndexError):
        queue.pop()


@given(st.lists(st.tuples(st.sampled_from((HIGH, NORMAL)), st.sampled_from("abc")), max_size=40), st.integers(0, 2**32))
def test_nothing_is_lost_or_given_twice(kinds: list[tuple[Priority, str]], seed: int):
    queue: FairQueue[int] = FairQueue()
    for i, (priority, client) in enumerate(kinds):
        queue.push(i, priority=priority, client=client)
    gone = random.Random(seed).sample(range(len(kinds)), len(kinds) // 3)
    for i in gone:
        assert queue.remove(i, priority=kinds[i][0], client=kinds[i][1])
    assert sorted(queue) == sorted(set(range(len(kinds))) - set(gone))
    left = []
    while queue:
        left.append(queue.pop())
    assert sorted(left) == sorted(set(range(len(kinds))) - set(gone))
