"""The process behind ``Sandbox``: run as ``python -m serving.batch.sandbox_child DESCRIPTOR``."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from pipelines.errors import OcellaError
from serving.batch.compute import Computer
from serving.batch.content import Content, Finisher
from serving.batch.errors import JobError
from serving.batch.local import local_engine
from serving.batch.sandbox import Order


async def serve(pipe: Connection) -> None:
    """Answer content after content; raises EOFError or ConnectionError once nobody asks any more."""
    order: Order = pipe.recv()
    try:
        async with local_engine(order.package, order.options) as engine:
            pipe.send("")
            computer = Computer(engine, Finisher(engine.decode, order.overlays))
            while True:
                content: Content = await asyncio.to_thread(pipe.recv)
                try:
                    pipe.send(await computer(content))
                except JobError as error:
                    pipe.send(error)
    except OcellaError as error:
        pipe.send(str(error))


def main() -> None:
    """Serve the process that started this one, over the pipe whose descriptor is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to every process of the terminal; the pipe tells of it
    with Connection(int(sys.argv[1])) as pipe, suppress(EOFError, ConnectionError):
        asyncio.run(serve(pipe))


if __name__ == "__main__":
    main()
