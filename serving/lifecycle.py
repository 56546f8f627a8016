"""Which model versions answer follows what lies on disk: loading, reloading, unloading, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from pipelines.errors import ModelNotReadyError, UnknownModelError
from pipelines.session import CPU
from serving.catalog import UNLOADED, Catalog, ModelStatus
from serving.judge import Judge
from serving.loading import Entry, Loader, LoadError, task_of
from serving.logs.entry import event
from serving.looks import Look, look_at, look_at_all
from serving.repository import Candidate, ModelFolder, survey
from serving.settings import StartError
from serving.signature import signature_of
from serving.swap import Swap
from serving.threads import Threads

# About a tenth of the weight of a thread that serves: a core that is free does a load as fast as ever.
LOAD_NICENESS = 10
NOT_CHOSEN = "not among the versions to serve"
_log = logging.getLogger(__name__)


class Lifecycle:
    """Owns every loaded model; an async context manager, whose exit frees them.

    Loads happen beside what answers, one at a time once the server has started, and a load that fails changes nothing.

    Attributes:
        followed: by model, what its folder looked like when it was last brought in line.
    """

    def __init__(
        self, folders: Iterable[Path], catalog: Catalog, loader: Loader, swap: Swap, judge: Judge, *, cores: int
    ) -> None:
        """Look at the folders, load nothing; ``cores``: loads at once at the start. Raises StartError as ``survey``."""
        self.followed: dict[str, Look] = {}
        self._folders = tuple(folders)
        self._catalog = catalog
        self._loader = loader
        self._swap = swap
        self._judge = judge
        self._cores = cores
        self._models = {model.name: model for model in survey(self._folders)}
        self._unloaded: set[str] = set()
        self._work: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue()
        for model in self._models.values():
            for candidate in model.chosen:
                catalog.put_status(ModelStatus(candidate.name, candidate.version))

    async def __aenter__(self) -> Self:
        self._disk = Threads(1, name="disk")
        self._worker = asyncio.create_task(self._do_work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.cancel()
        await asyncio.wait((self._worker,))
        self._disk.close()
        self._swap.close()

    def index(self) -> tuple[ModelStatus, ...]:
        """Every model version under the folders, as last seen there, by name, then version."""
        known = {(status.name, status.version): status for status in self._catalog.statuses()}
        for model in self._models.values():
            for candidate in model.others:
                key = (candidate.name, candidate.version)
                known.setdefault(key, ModelStatus(*key, reason=NOT_CHOSEN))
        return tuple(known[key] for key in sorted(known))

    async def start(self) -> None:
        """Try each chosen version once; raises StartError where none could be loaded."""
        await self._in_turn(self._start)

    async def load(self, name: str) -> None:
        """Bring a model in line with its folder; what did not change stays as it is.

        Raises UnknownModelError for a name that is not under the folders, ModelNotReadyError where it does not load.
        """
        await self._in_turn(partial(self._load, name))

    async def unload(self, name: str) -> None:
        """Let a model answer no new request, until it is asked for again; raises UnknownModelError."""
        await self._in_turn(partial(self._unload, name))

    async def rescan(self) -> None:
        """Bring every model that was not unloaded in line with the folders; a folder that is gone changes nothing."""
        await self._in_turn(self._rescan)

    async def looks(self) -> dict[str, Look]:
        """What each model's folder looks like now; raises StartError as ``survey`` does."""
        return await self._disk.run(look_at_all, self._folders, frozenset(self._swap.entries))

    async def follow(self, name: str) -> None:
        """Bring one model in line with its folder, if it was not unloaded; one whose folder is gone is unloaded."""
        await self._in_turn(partial(self._follow, name))

    async def renew(self, entry: Entry) -> None:
        """Load what was taken out once more, in a fresh session; it stays out where that fails."""
        await self._in_turn(partial(self._renew, entry))

    async def _in_turn(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Await ``work`` on the worker; it goes on where the caller is cancelled."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._work.put_nowait((work, done))
        await done

    async def _do_work(self) -> None:
        while True:
            work, done = await self._work.get()
            try:
                await work()
            except asyncio.CancelledError:
                done.cancel()
                raise
            except Exception as error:  # noqa: BLE001, it is raised where the work is awaited
                _settle(done, error)
            else:
                _settle(done, None)

    async def _start(self) -> None:
        threads = Threads(self._cores, name="load")
        try:
            async with asyncio.TaskGroup() as tasks:
                for model in self._models.values():
                    tasks.create_task(self._align(model, threads))
        finally:
            threads.close()
        self._catalog.settle()
        if not self._catalog.is_serving(""):
            failed = [f"{status.name} {status.version}: {status.reason}" for status in self._catalog.statuses()]
            raise StartError(f"no model could be loaded: {'; '.join(failed)}")

    async def _load(self, name: str) -> None:
        await self._look_again()
        model = self._models.get(name)
        if model is None:
            raise UnknownModelError(f"no model is called {name[:64]!r} under the folders of --models")
        self._unloaded.discard(name)
        problems = await self._align_alone(model)
        if problems:
            raise ModelNotReadyError(f"{name} did not load: {'; '.join(problems)}")

    async def _unload(self, name: str) -> None:
        model = self._models.get(name)
        if model is None and not self._swap.of(name):
            raise UnknownModelError(f"no model is called {name[:64]!r} under the folders of --models")
        self._unloaded.add(name)
        _log.info("%s is unloaded: a caller asked for it", name, extra=event("model_unloaded", model=name))
        known = [status for status in self._catalog.statuses() if status.name == name]
        if not known and model:  # it came since the last look that brought models in line
            known = [ModelStatus(name, candidate.version) for candidate in model.chosen]
        self._forget(name, keep=())
        for status in known:
            self._catalog.put_status(replace(status, reason=UNLOADED))

    async def _rescan(self) -> None:
        await self._look_again()
        for name in sorted({*self._models, *(name for name, _ in self._swap.entries)}):
            await self._follow_seen(name)

    async def _follow(self, name: str) -> None:
        await self._look_again()
        await self._follow_seen(name)

    async def _follow_seen(self, name: str) -> None:
        model = self._models.get(name)
        if model is None:
            _log.info("%s is unloaded: its folder is gone", name, extra=event("model_unloaded", model=name))
            self.followed.pop(name, None)
            self._unloaded.discard(name)
            self._forget(name, keep=())
        elif name in self._unloaded:
            self.followed[name] = await self._disk.run(look_at, model)
        else:
            await self._align_alone(model)

    async def _renew(self, entry: Entry) -> None:
        if self._swap.entries.get(entry.key) is entry and not self._swap.answers(entry):
            with self._beside_requests((entry.candidate,)) as threads:
                await self._bring(entry.candidate, threads, [])

    async def _look_again(self) -> None:
        """Survey the folders; where that fails, what was seen last counts."""
        try:
            models = await self._disk.run(partial(survey, self._folders, served=frozenset(self._swap.entries)))
        except StartError as error:
            _log.error("the models stay as they are: %s", error)
            return
        self._models = {model.name: model for model in models}

    async def _align_alone(self, model: ModelFolder) -> list[str]:
        with self._beside_requests((*model.chosen, *model.older)) as threads:
            return await self._align(model, threads)

    @contextmanager
    def _beside_requests(self, candidates: Iterable[Candidate]) -> Iterator[Threads]:
        """One thread to load on, and one that stands back: it works while others wait for answers.

        Not where sessions make threads of their own, which would serve with that niceness ever after.
        """
        runtimes = [candidate.deploy.runtime for candidate in candidates]
        alone = all(one.intra_op_threads == 1 and one.providers == (CPU,) for one in runtimes)
        threads = Threads(1, name="load", niceness=LOAD_NICENESS if alone else 0)
        try:
            with self._swap.kept_apart():
                yield threads
        finally:
            threads.close(wait=False)

    async def _align(self, model: ModelFolder, threads: Threads) -> list[str]:
        """Let the chosen versions answer and no other; returns what failed."""
        problems: list[str] = []
        self.followed[model.name] = await self._disk.run(look_at, model)
        if not model.chosen[0].problem:  # else the choices of before hold
            self._judge.allow(model.name, canary_max_ms=model.chosen[0].deploy.health.canary_max_ms)
        brought = [await self._bring(candidate, threads, problems) for candidate in model.chosen]
        answering = [version for version in brought if version is not None]
        older = list(model.older)
        while older and not answering:
            version = await self._bring(older.pop(0), threads, [])
            if version is not None:
                answering.append(version)
                self._say_instead(model.chosen[0], version, problems)
        if answering:
            self._forget(model.name, keep=(*answering, *(candidate.version for candidate in model.chosen)))
        return problems

    async def _bring(self, candidate: Candidate, threads: Threads, problems: list[str]) -> int | None:
        """Load a version, if it is not what answers already; returns which version then answers in its place."""
        key = (candidate.name, candidate.version)
        current = self._swap.entries.get(key)
        signature = await self._disk.run(signature_of, candidate.folder)
        if current and self._swap.answers(current) and current.is_of(candidate, signature):
            return candidate.version
        if current is None:
            self._catalog.put_status(ModelStatus(*key))
        try:
            entry = await self._loader.load(candidate, threads)
        except LoadError as error:
            problems.append(f"version {candidate.version}: {error}")
            if current is None:
                task = await self._disk.run(task_of, candidate)
                self._catalog.put_status(ModelStatus(*key, task, str(error)))
            return candidate.version if current else None
        outgoing = current or self._outgoing(candidate)
        self._swap.put(entry, instead_of=outgoing)
        provider = entry.session.provider
        what = event("model_ready", model=key[0], version=key[1], provider=provider)
        _log.info("%s %s is ready on %s", *key, provider, extra=what)
        if outgoing and self._swap.on_probation(entry) and (fault := await self._judge.verdict(entry)):
            self._swap.fault(entry, fault)
            problems.append(f"version {candidate.version}: {fault}")
            return outgoing.key[1]
        return candidate.version

    def _outgoing(self, candidate: Candidate) -> Entry | None:
        """The version that a new newest one takes the place of; none where versions answer beside each other."""
        others = self._swap.of(candidate.name)
        return others[-1] if others and candidate.deploy.versions == "latest" else None

    def _say_instead(self, broken: Candidate, answering: int, problems: Sequence[str]) -> None:
        reason = f"{problems[0].partition(': ')[2]}; version {answering} answers instead"
        _log.warning("%s %s does not answer: %s", broken.name, broken.version, reason)
        task = next((status.task for status in self._catalog.statuses() if status.name == broken.name), "")
        self._catalog.put_status(ModelStatus(broken.name, broken.version, task, reason))

    def _forget(self, name: str, *, keep: Sequence[int]) -> None:
        """Know only ``keep`` of a model's versions; those that answered are drained and freed."""
        for entry in self._swap.of(name):
            if entry.key[1] not in keep:
                self._swap.retire(entry.key)
        for status in self._catalog.statuses():
            if status.name == name and status.version not in keep:
                self._catalog.remove(name, status.version)
                self._swap.forget((name, status.version))


def _settle(done: asyncio.Future[Any], error: Exception | None) -> None:
    if done.cancelled():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
