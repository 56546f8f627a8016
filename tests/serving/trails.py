"""Servers whose requests leave their trail in a list, and one that writes its log into one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from serving.app import ListeningServer, listening
from serving.calls import Sink
from serving.logs.render import render_json
from serving.logs.writer import LogWriter
from serving.trail import Trail
from tests.serving.servers import PATIENCE_S, settings_for


@asynccontextmanager
async def recording_server(
    *folders: Path, sinks: tuple[Sink, ...] = (), **over: Any
) -> AsyncIterator[tuple[ListeningServer, list[Trail]]]:
    """A server whose models are loaded, and the trails of its requests in the order in which they ended."""
    trails: list[Trail] = []
    async with listening(settings_for(*folders, **over), sinks=(trails.append, *sinks)) as server:
        await server.load()
        yield server, trails


async def until(holds: Callable[[], object]) -> None:
    """Let the loop run until something holds that the server does after its client has heard."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0)


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def __call__(self, data: bytes) -> None:
        self.data += data

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was written, as JSON objects."""
        return [json.loads(line) for line in self.data.decode().splitlines()]


@contextmanager
def writing_to(lines: Lines, **arguments: Any) -> Iterator[LogWriter]:
    """A writer of JSON; all is written once the block is left."""
    writer = LogWriter(lines, render_json, **arguments)
    try:
        yield writer
    finally:
        writer.close()
