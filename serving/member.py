"""One of several server processes that share their ports: it tells its supervisor of itself, and asks it about all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from serving.snapshot import Snapshot

ALL = "all.sock"
_log = logging.getLogger(__name__)


def socket_of(folder: Path, member: int) -> Path:
    """Where a member tells of itself."""
    return folder / f"{member}.sock"


@asynccontextmanager
async def telling(path: Path, tell: Callable[[], Awaitable[Snapshot]]) -> AsyncIterator[None]:
    """Tell whoever connects to a socket at ``path``, one snapshot for each connection."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await tell()).to_json())
        await writer.drain()
        writer.close()

    path.unlink(missing_ok=True)  # of a process that was killed
    async with await asyncio.start_unix_server(answer, path):
        yield


async def ask(path: Path, *, timeout_s: float) -> Snapshot:
    """What is told at ``path``; raises OSError (TimeoutError among them) or ValueError where nobody tells."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            return Snapshot.from_json(await reader.read())
        finally:
            writer.close()


def main() -> None:
    """Serve as one of several; a line on standard input has the settings, its end is the end of the supervisor."""
    from serving import event_loop
    from serving.app import serve
    from serving.logs.install import server_log
    from serving.settings import Settings, StartError

    settings = Settings.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_stop_with_supervisor, daemon=True).start()
    with server_log(settings):
        try:
            event_loop.run(serve(settings, _announce))
        except StartError as error:
            _log.error("%s", error)
            sys.exit(1)


def _stop_with_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin.read(): its lock would be held when Python exits
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _announce(text: str) -> None:
    """To the supervisor, a line at a time."""
    for line in text.splitlines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
