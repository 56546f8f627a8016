"""Whose turn it is: two priorities, and within each the clients in turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")
# While both priorities wait, one turn in so many is of the lower one: a flood of high ones delays it, and no more.
LOWER_TURN = 8


class Priority(IntEnum):
    """Whose rows go first; the numbers are those of the ``priority`` parameter of Triton's requests."""

    HIGH = 1
    NORMAL = 2


class FairQueue(Generic[T]):
    """A queue in which no client waits for more than one item of each other client of its priority.

    Items of one client and priority keep their order.
    """

    def __init__(self) -> None:
        self._high: OrderedDict[str, deque[T]] = OrderedDict()
        self._normal: OrderedDict[str, deque[T]] = OrderedDict()
        self._high_turns = 0

    def __bool__(self) -> bool:
        return bool(self._high or self._normal)

    def push(self, item: T, *, priority: Priority, client: str) -> None:
        """Put an item behind the others of its client."""
        level = self._high if priority is Priority.HIGH else self._normal
        waiting = level.get(client)
        if waiting is None:
            level[client] = waiting = deque()
        waiting.append(item)

    def peek(self) -> T:
        """The item that ``pop`` would take."""
        return next(iter(self._next_level().values()))[0]

    def pop(self) -> T:
        """Take the item whose turn it is; IndexError where none waits."""
        level = self._next_level()
        if not level:
            raise IndexError("the queue is empty")
        self._high_turns = self._high_turns + 1 if level is self._high and self._normal else 0
        client, waiting = next(iter(level.items()))
        item = waiting.popleft()
        if waiting:
            level.move_to_end(client)
        else:
            del level[client]
        return item

    def remove(self, item: T, *, priority: Priority, client: str) -> bool:
        """Take out one item wherever it stands; whether it was there."""
        level = self._high if priority is Priority.HIGH else self._normal
        waiting = level.get(client)
        if waiting is None or item not in waiting:
            return False
        waiting.remove(item)
        if not waiting:
            del level[client]
        return True

    def heads(self) -> Iterator[T]:
        """The first item of each client and priority: the oldest item is among them."""
        for level in (self._high, self._normal):
            for waiting in level.values():
                yield waiting[0]

    def __iter__(self) -> Iterator[T]:
        """Every item, in no particular order."""
        for level in (self._high, self._normal):
            for waiting in level.values():
                yield from waiting

    def _next_level(self) -> OrderedDict[str, deque[T]]:
        if self._high and not (self._normal and self._high_turns >= LOWER_TURN - 1):
            return self._high
        return self._normal
