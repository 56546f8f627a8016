"""Where replicas and routers tell of their metrics, and one scrape finds all of them added up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from serving.snapshot import join_metrics

_log = logging.getLogger(__name__)
PUSH_S = 1.0
# A member that has told nothing for so long is gone without a word: it was killed, or its machine is away.
SILENCE_S = 15.0


class Board:
    """A deployment of one replica, which does nothing else."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: dict[str, tuple[float, str]] = {}
        self._gone = ""

    async def digest(self) -> str:
        """A board is like any other; that it answers is what whoever deploys it wants to know."""
        return "board"

    async def put(self, member: str, metrics: str) -> None:
        """What a member counts now, in Prometheus' text format."""
        self._latest[member] = self._clock(), metrics

    async def leave(self, member: str, metrics: str) -> None:
        """The last that a member counted: its counts stay, its gauges go."""
        self._latest.pop(member, None)
        self._keep([metrics])

    async def scrape(self) -> str:
        """All members as one, in Prometheus' text format."""
        oldest = self._clock() - SILENCE_S
        silent = [member for member, (told, _) in self._latest.items() if told < oldest]
        self._keep([self._latest.pop(member)[1] for member in silent])
        texts, gone = [text for _, text in self._latest.values()], [self._gone]
        return await asyncio.to_thread(join_metrics, texts, gone=gone)

    def _keep(self, texts: list[str]) -> None:
        """Add the counts of members that are gone to those of the ones before, so that no sum ever falls."""
        if texts:
            self._gone = join_metrics([], gone=[self._gone, *texts])


async def telling(board: Any, member: str, metrics: Callable[[], str]) -> None:
    """Tell the board of a member's metrics until cancelled, and then a last time."""
    try:
        while True:
            await _told(board.put.remote(member, await asyncio.to_thread(metrics)))
            await asyncio.sleep(PUSH_S)
    finally:
        await _told(board.leave.remote(member, metrics()))


async def _told(answer: Awaitable[Any]) -> None:
    """Await the board; one that is just being replaced must not end a member."""
    try:
        await answer
    except Exception as error:  # noqa: BLE001, whatever Ray raises: the metrics are told again in a moment
        _log.warning("the board of metrics did not answer: %s", error)
