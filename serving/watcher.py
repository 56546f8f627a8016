"""Looks at the folders of models again and again, and lets the server follow what changed once it has settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Self

from serving.lifecycle import Lifecycle
from serving.looks import Look
from serving.settings import StartError

_log = logging.getLogger(__name__)


class Watcher:
    """Brings models in line with their folders for as long as it is entered.

    A change counts once two looks in a row agree on it and every file that a manifest lists is there: a folder that is
    still being copied is left alone. The sure way is to write under another name and rename.
    """

    def __init__(self, lifecycle: Lifecycle, *, interval_s: float) -> None:
        self._lifecycle = lifecycle
        self._interval_s = interval_s
        self._before: Mapping[str, Look] = {}
        self._trouble = ""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            trouble = ""
            try:
                await self.look()
            except StartError as error:  # a folder is gone, which a lost mount looks like: nothing is unloaded
                trouble = str(error)
            except OSError as error:
                trouble = f"{error.filename} cannot be read: {error.strerror}"
            if trouble and trouble != self._trouble:
                _log.error("the models stay as they are: %s", trouble)
            self._trouble = trouble

    async def look(self) -> None:
        """Look once; follow each model that differs from what is served and looks as it did last time.

        Raises StartError where a folder of the operator's is gone or empty.
        """
        now, served = await self._lifecycle.looks(), self._lifecycle.followed
        settled = [name for name in {*now, *served} if now.get(name) == self._before.get(name)]
        self._before = now
        for name in settled:
            if now.get(name) != served.get(name):
                await self._lifecycle.follow(name)
