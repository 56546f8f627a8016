"""An event loop whose clock is not the machine's: it jumps to the next timer when nothing else is left to do."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Never waits: it tells how long it was asked to."""

    slept_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing is left that could happen")
        self.slept_s += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop; its time begins at 0."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.slept_s


def run_virtually(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end in virtual time; the same work takes the same steps each time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
