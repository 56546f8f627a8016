"""One actor of the pool: it loads the package once, and reads and computes chunk after chunk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import OcellaError
from pipelines.options import PredictOptions
from serving.batch.compute import Computer
from serving.batch.content import Content, Finisher, read
from serving.batch.draw import Overlays
from serving.batch.errors import JobError
from serving.batch.identity import digest_of
from serving.batch.job import READERS
from serving.batch.local import local_engine
from serving.batch.on_ray.chunks import Found, Ticket, without_bytes
from serving.batch.on_ray.ledger import Claims, Standing
from serving.batch.outcome import Outcome, failure_of
from serving.batch.sampling import wants
from serving.batch.sandbox import Order, Sandbox
from serving.threads import Threads


@dataclass(frozen=True, kw_only=True)
class Duty:
    """What every worker is told.

    Attributes:
        package: its folder, the same path on every machine.
        package_sha256: of its manifest, see ``identity.digest_of``.
        options: of every prediction.
        overlays: where results are drawn, the same path on every machine; ``None``: nowhere.
        cores: that a worker uses, where its machine has so many.
        here: the folder that relative paths of the sources begin in, the same path on every machine.
    """

    package: Path
    package_sha256: str
    options: PredictOptions
    overlays: Overlays | None
    cores: int
    here: Path


class Worker:
    """Answers chunks from any thread, several at once, on an event loop of its own."""

    def __init__(self, duty: Duty, claims: Claims) -> None:
        """Load the package; raises OcellaError."""
        self._duty, self._claims = duty, claims
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker", daemon=True)
        self._thread.start()
        self._opened = AsyncExitStack()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def __call__(self, chunk: Sequence[Ticket]) -> list[Found]:
        """What becomes of each entry, in order; raises JobError where the job cannot go on."""
        return asyncio.run_coroutine_threadsafe(self._chunk(chunk), self._loop).result()

    def close(self) -> None:
        """Free the model; a worker that is killed leaves that to the system."""
        asyncio.run_coroutine_threadsafe(self._opened.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _open(self) -> None:
        duty = self._duty
        engine = await self._opened.enter_async_context(local_engine(duty.package, duty.options, most_cores=duty.cores))
        if digest_of(engine.manifest_json) != duty.package_sha256:
            raise JobError(f"{duty.package} must be the same package on every machine of the cluster, one differs")
        sandbox = self._opened.enter_context(Sandbox(Order(duty.package, duty.options, duty.overlays)))
        self._readers = Threads(READERS, name="read")
        self._opened.callback(self._readers.close)
        self._slots = asyncio.Semaphore(engine.concurrency)
        self._compute = Computer(engine, Finisher(engine.decode, duty.overlays), sandbox)

    async def _chunk(self, chunk: Sequence[Ticket]) -> list[Found]:
        names = [(ticket.entry.name, ticket.entry.stamp) for ticket in chunk]
        known = await asyncio.to_thread(self._claims.known, names)
        unknown = [ticket for ticket, sha256 in zip(chunk, known, strict=True) if not sha256]
        contents = await asyncio.gather(*(self._read(ticket) for ticket in unknown))
        asked = [
            (content.sha256, ticket.position)
            for ticket, content in zip(unknown, contents, strict=True)
            if isinstance(content, Content)
        ]
        standings = iter(await asyncio.to_thread(self._claims.claim, asked))
        found = iter(
            await asyncio.gather(
                *(self._of(one, next(standings) if isinstance(one, Content) else None) for one in contents)
            )
        )
        return [
            Found(without_bytes(ticket), sha256, None) if sha256 else Found(without_bytes(ticket), *next(found))
            for ticket, sha256 in zip(chunk, known, strict=True)
        ]

    async def _read(self, ticket: Ticket) -> Content | Outcome:
        try:
            return await self._readers.run(read, ticket.entry, None, wants(ticket.position))
        except (OcellaError, OSError) as error:  # it could not be read
            return Outcome(sha256="", failure=failure_of(error, lasting=False))

    async def _of(self, content: Content | Outcome, standing: Standing | None) -> tuple[str, Outcome | None]:
        if isinstance(content, Outcome) or standing is Standing.ELSEWHERE:
            return content.sha256, content if isinstance(content, Outcome) else None
        async with self._slots:
            return content.sha256, await self._compute(content, suspect=standing is Standing.SUSPECT)
