"""Servers on free ports inside the test's process, sessions that misbehave on purpose, and the offline answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.image import ImageLimits
from pipelines.loader import LoadedModel, load_package
from pipelines.options import PredictOptions
from pipelines.session import GraphSession
from pipelines.tasks import predict
from pipelines.types import AnyArray, Result
from serving import event_loop
from serving.app import ListeningServer, listening
from serving.settings import Settings

NO_OPTIONS = PredictOptions()
PATIENCE_S = 60.0  # far more than anything here takes; a test that waits so long has found a hang


def settings_for(*folders: Path, **over: Any) -> Settings:
    """Settings of a server on free ports."""
    return Settings(**({"models": folders, "port": 0, "http_port": 0, "grace_s": PATIENCE_S} | over))


@asynccontextmanager
async def running_server(*folders: Path, **over: Any) -> AsyncIterator[ListeningServer]:
    """A server whose models are loaded, in the test's own loop."""
    async with listening(settings_for(*folders, **over)) as server:
        await server.load()
        yield server


@contextmanager
def server_in_thread(*folders: Path, **over: Any) -> Iterator[ListeningServer]:
    """A server whose models are loaded, in a loop of its own, for tests of blocking code."""
    started: list[ListeningServer] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        try:
            async with running_server(*folders, **over) as server:
                started.append(server)
                ready.set()
                await stop.wait()
        finally:
            ready.set()

    with asyncio.Runner(loop_factory=event_loop.LOOP) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=runner.run, args=(main(),))
        thread.start()
        ready.wait(PATIENCE_S)
        try:
            yield started[0]
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(PATIENCE_S)


class Offline:
    """The definition of correct for the models of a repository."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._models = {name: load_package(folder) for name, folder in folders.items()}

    def __call__(self, model: str, data: bytes, options: PredictOptions = NO_OPTIONS) -> Result:
        loaded = self._models[model]
        image = loaded.pipeline.decode(data, ImageLimits())
        return predict(loaded.pipeline, loaded.session, [image], options)[0]


class GatedSession:
    """Runs a graph only while its gate is open, and tells that somebody stands before it."""

    def __init__(self, session: GraphSession) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.graph_outputs = session.graph_outputs
        self.batches: list[int] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self._session = session

    def run(self, feeds: Mapping[str, AnyArray], **arguments: Any) -> dict[str, AnyArray]:
        self.batches.append(len(next(iter(feeds.values()))))
        self.entered.release()
        assert self.gate.wait(PATIENCE_S), "the test never opened the gate"
        return self._session.run(feeds, **arguments)

    def close(self) -> None:
        self._session.close()


class FaultySession:
    """Answers with what ``spoil`` makes of the graph's outputs; ``spoil`` may raise."""

    def __init__(self, session: GraphSession, spoil: Callable[[dict[str, AnyArray]], dict[str, AnyArray]]) -> None:
        self.inputs, self.outputs, self.provider = session.inputs, session.outputs, session.provider
        self.graph_outputs = session.graph_outputs
        self._session, self._spoil = session, spoil

    def run(self, feeds: Mapping[str, AnyArray], **arguments: Any) -> dict[str, AnyArray]:
        return self._spoil(self._session.run(feeds, **arguments))

    def close(self) -> None:
        self._session.close()


def swap_session(monkeypatch: Any, model: str, wrap: Callable[[GraphSession], Any]) -> list[Any]:
    """Let servers started from here on run ``model`` through ``wrap(session)``; what was made is in the list."""
    made: list[Any] = []

    def load(folder: Path, **arguments: Any) -> LoadedModel:
        loaded = load_package(folder, **arguments)
        if loaded.manifest.name != model:
            return loaded
        made.append(wrap(loaded.session))
        return replace(loaded, session=made[-1])

    monkeypatch.setattr("serving.loading.load_package", load)
    return made
