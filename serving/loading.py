"""Brings a model version from disk to where it could answer, or says in words fit for clients why not."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pipelines.errors import GoldenMismatchError, OcellaError
from pipelines.loader import Loaded, load_package
from pipelines.manifest import read_manifest
from serving.canary import Canary
from serving.cascade import serve_loaded
from serving.cascade_watch import Watched, watch_over
from serving.deploy import DeployError, Health
from serving.headroom import Headroom, Held, held_now
from serving.logs.entry import event
from serving.memory import graph_bytes
from serving.metrics import Metrics
from serving.providers import session_options
from serving.reasons import public_reason
from serving.repository import Candidate, check_identity
from serving.served import ServedModel
from serving.signature import Signature, signature_of
from serving.threads import Threads
from serving.watched import WatchedSession

_log = logging.getLogger(__name__)


class LoadError(OcellaError):
    """A model version did not load; the text names no path of the server."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A loaded model version with what watches over it.

    Attributes:
        candidate: what it was loaded from.
        signature: of its folder when it was loaded.
        served: its queue and its runs.
        session: its graph.
        canary: its golden samples.
    """

    candidate: Candidate
    signature: Signature
    served: ServedModel
    session: WatchedSession
    canary: Canary
    _scope: ExitStack = field(repr=False)
    _closed: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def key(self) -> tuple[str, int]:
        """Name and version."""
        return self.served.name, self.served.version

    def is_of(self, candidate: Candidate, signature: Signature) -> bool:
        """Whether loading ``candidate`` now would give the same again."""
        return (
            self.signature == signature
            and not candidate.problem
            and _acting(self.candidate) == _acting(candidate)
            and self.candidate.folder == candidate.folder
        )

    def abandon(self, error: OcellaError) -> int:
        """Fail with ``error`` the requests whose runs hang, and those behind them; returns how many threads hang."""
        left = self.served.abandon(error)
        self.served.meter.leaked(left)
        return left

    def close(self) -> None:
        """Free the threads and the graph; to be called once no request is inside. A canary may be, and fails then."""
        self._closed.set()
        self._scope.close()

    @property
    def is_closed(self) -> bool:
        """Whether it was freed, or is about to be."""
        return self._closed.is_set()


class Loader:
    """Loads one candidate at a call, on threads that the caller lends."""

    def __init__(self, metrics: Metrics, headroom: Headroom, *, cores: int, timeout_s: float) -> None:
        """Where a model's ``deploy.toml`` does not say, it runs on all ``cores`` at once.

        Args:
            metrics: where loads are counted.
            headroom: says whether one has room.
            cores: that this process may use.
            timeout_s: longest time that a load may take.
        """
        self._metrics = metrics
        self._headroom = headroom
        self._cores = cores
        self._timeout_s = timeout_s
        self._begun = self._under_way = 0

    async def load(self, candidate: Candidate, threads: Threads) -> Entry:
        """Check, load, replay and warm up, without touching what answers; raises LoadError."""
        meter = self._metrics.model(candidate.name, candidate.version)
        start, alone = time.monotonic(), not self._under_way
        self._begun += 1
        self._under_way += 1
        begun = self._begun
        loaded: Loaded | Entry | None = None
        limit = asyncio.timeout(self._timeout_s)
        try:
            async with limit:
                signature, before = await threads.run(self._check, candidate)
                watched = await threads.run(_open, candidate, signature)
                loaded = watched.loaded
                took_s = time.monotonic() - start
                meter.golden("passed")
                loaded = entry = self._entry(candidate, watched, signature)
                file_bytes = await threads.run(graph_bytes, candidate.folder)
                await threads.run(warm_up, entry, candidate.deploy.warmup.runs)
                after = await threads.run(held_now, candidate)
        except Exception as error:
            _drop(loaded)
            meter.loaded("failed", time.monotonic() - start)
            problem = error
            if limit.expired():  # a TimeoutError of a file system is none of ours, and leaves no thread behind
                meter.leaked(1)
                problem = LoadError(f"loading must take at most {self._timeout_s:g} s, it takes longer")
            elif isinstance(error, GoldenMismatchError):
                meter.golden("failed")
            raise LoadError(_reason(candidate, problem)) from error
        finally:
            self._under_way -= 1
        meter.loaded("ok", took_s)
        if alone and self._begun == begun:  # two loads at once cannot tell who took what
            taken = self._headroom.note(candidate, before, after)
            meter.memory(file_bytes=file_bytes, grown_bytes=taken.host, card_bytes=taken.card)
        else:
            meter.memory(file_bytes=file_bytes, grown_bytes=None, card_bytes=None)
        return entry

    def _entry(self, candidate: Candidate, watched: Watched, signature: Signature) -> Entry:
        meter = self._metrics.model(candidate.name, candidate.version)
        with ExitStack() as scope:
            served = scope.enter_context(serve_loaded(watched.loaded, candidate.deploy, meter, cores=self._cores))
            return Entry(candidate, signature, served, watched.session, watched.canary, scope.pop_all())

    def _check(self, candidate: Candidate) -> tuple[Signature, Held]:
        """What the folder looks like and what is held before the load; raises what speaks against loading."""
        if candidate.problem:
            raise DeployError(candidate.problem)
        signature = signature_of(candidate.folder)
        check_identity(candidate)
        return signature, self._headroom.check(candidate)


def _open(candidate: Candidate, signature: Signature) -> Watched:
    options = session_options(candidate.deploy.runtime, model_folder=candidate.folder.parent)
    loaded = load_package(candidate.folder, options=options)
    try:
        watched = watch_over(loaded)
        if fallback := getattr(watched.session, "fallback", ""):
            _log.warning("%s %s: %s", candidate.name, candidate.version, fallback)
        if signature_of(candidate.folder) != signature:
            raise LoadError(f"{candidate.folder} must not change while it is loaded, it did")
    except BaseException:
        loaded.close()
        raise
    return watched


def _drop(loaded: Loaded | Entry | None) -> None:
    """Free what a load has come to that failed, if it has come to anything."""
    if loaded is not None:
        loaded.close()


def task_of(candidate: Candidate) -> str:
    """The task of a package that failed to load; empty where its manifest cannot be read either."""
    try:
        return read_manifest(candidate.folder, check_seal=False).head.task
    except Exception:  # noqa: BLE001, the load has already said what is wrong
        return ""


def _acting(candidate: Candidate) -> object:
    """The choices that change how a version runs; the others apply without loading it anew."""
    return candidate.deploy.model_copy(update={"versions": "latest", "health": Health()})


def _failed(candidate: Candidate) -> dict[str, Any]:
    return event("model_load_failed", model=candidate.name, version=candidate.version)


def _reason(candidate: Candidate, error: Exception) -> str:
    """What clients are told; the log has it whole."""
    known = isinstance(error, OcellaError | OSError)
    text = str(error) if known else f"internal error while loading ({type(error).__name__})"
    if isinstance(error, OSError):
        text = f"{error.filename or candidate.folder}: {error.strerror or error}"
    name, version = candidate.name, candidate.version
    whole = None if known else error
    _log.error("%s %s did not load: %s", name, version, text, exc_info=whole, extra=_failed(candidate))
    return public_reason(text, folder=candidate.folder)


def warm_up(entry: Entry, runs: int) -> None:
    """Run each model of a package as ``Canary.warm_up`` does."""
    for canary, most in zip(entry.canary.members, entry.served.most_rows, strict=True):
        canary.warm_up(most=most, runs=runs)
