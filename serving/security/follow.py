"""Files of secrets that change while the server runs: looked at again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol, Self

_log = logging.getLogger(__name__)


class Followed(Protocol):
    """What reads files; must keep what it has where they cannot be used."""

    def refresh(self) -> None:
        """Look at the files, on a thread of its own."""
        ...


class Follower:
    """Refreshes what it follows every ``interval_s``; an async context manager."""

    def __init__(self, followed: Sequence[Followed], *, interval_s: float) -> None:
        self._followed = followed
        self._interval_s = interval_s

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            for one in self._followed:
                try:
                    await asyncio.to_thread(one.refresh)
                except Exception:  # noqa: BLE001, the next look may go well, and without it nothing would ever be renewed
                    _log.exception("files of secrets could not be looked at")
