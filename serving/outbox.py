"""Hands items to a slow receiver on a thread of its own: putting one never waits, and what finds no room is counted."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Outbox(Generic[T]):
    """A bounded queue before one thread, which takes all that waits at once."""

    def __init__(
        self, deliver: Callable[[Sequence[T], int], None], *, name: str, capacity: int, gather_s: float
    ) -> None:
        """Start the thread.

        Args:
            deliver: gets the items in their order, and how many were dropped since it was last called.
            name: of the thread.
            capacity: most items that wait.
            gather_s: how long the first of a lot waits for others: a wake-up of the thread costs more than an item.
        """
        self._deliver = deliver
        self._capacity = capacity
        self._gather_s = gather_s
        self._items: deque[T] = deque()
        self._dropped = 0
        self._lock = threading.Lock()  # of the count alone
        self._awake = False
        self._wake, self._closing = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Leave an item from any thread; it is dropped where there is no room."""
        if len(self._items) >= self._capacity:
            with self._lock:
                self._dropped += 1
        else:
            self._items.append(item)
        if not self._awake:
            self._awake = True
            self._wake.set()

    def close(self, *, timeout_s: float) -> None:
        """Deliver what waits, for at most ``timeout_s``: a receiver that hangs must not keep its process."""
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(self._gather_s)
            # In this order: what is put from here on either is seen below, or wakes the thread once more.
            self._wake.clear()
            self._awake = False
            self._hand_on()
        self._hand_on()

    def _hand_on(self) -> None:
        items = [self._items.popleft() for _ in range(len(self._items))]
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if not items and not dropped:
            return
        try:
            self._deliver(items, dropped)
        except Exception:  # noqa: BLE001, one bad lot must not end the thread
            _log.exception("%s could not be delivered", self._thread.name)
