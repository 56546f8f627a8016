"""Brings a model version from disk to where it could answer, or says in words fit for clients why not."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from pipelines.errors import GoldenMismatchError, OcellaError
from pipelines.loader import LoadedModel, load_package
from pipelines.manifest import read_manifest
from pipelines.session import SessionOptions
from serving.canary import Canary
from serving.deploy import DeployError
from serving.metrics import Metrics
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

    def close(self) -> None:
        """Free the threads and the graph; to be called once no request is inside."""
        self._scope.close()


class Loader:
    """Loads one candidate at a call, on threads that the caller lends."""

    def __init__(self, metrics: Metrics, *, cores: int) -> None:
        """``cores``: a model's concurrent runs where its ``deploy.toml`` does not say."""
        self._metrics = metrics
        self._cores = cores

    async def load(self, candidate: Candidate, threads: Threads) -> Entry:
        """Check, load, replay and warm up, without touching what answers; raises LoadError."""
        meter = self._metrics.model(candidate.name, candidate.version)
        start = time.monotonic()
        try:
            loaded, canary, signature = await threads.run(_load, candidate)
        except Exception as error:
            meter.loaded("failed", time.monotonic() - start)
            if isinstance(error, GoldenMismatchError):
                meter.golden("failed")
            raise LoadError(_reason(candidate, error)) from error
        meter.loaded("ok", time.monotonic() - start)
        meter.golden("passed")
        with ExitStack() as scope:
            served = scope.enter_context(ServedModel(loaded, candidate.deploy, meter, cores=self._cores))
            session = loaded.session
            assert isinstance(session, WatchedSession)
            return Entry(candidate, signature, served, session, canary, scope.pop_all())


def task_of(candidate: Candidate) -> str:
    """The task of a package that failed to load; empty where its manifest cannot be read either."""
    try:
        return read_manifest(candidate.folder, check_seal=False).head.task
    except Exception:  # noqa: BLE001, the load has already said what is wrong
        return ""


def _acting(candidate: Candidate) -> object:
    """The choices that change how a version runs."""
    return candidate.deploy.model_copy(update={"versions": "latest"})


def _reason(candidate: Candidate, error: Exception) -> str:
    """What clients are told; the log has it whole."""
    known = isinstance(error, OcellaError)
    text = str(error) if known else f"internal error while loading ({type(error).__name__})"
    name, version = candidate.name, candidate.version
    _log.error("%s %s did not load: %s", name, version, text, exc_info=None if known else error)
    return public_reason(text, folder=candidate.folder)


def _load(candidate: Candidate) -> tuple[LoadedModel, Canary, Signature]:
    if candidate.problem:
        raise DeployError(candidate.problem)
    signature = signature_of(candidate.folder)
    check_identity(candidate)
    runtime = candidate.deploy.runtime
    options = SessionOptions(
        providers=runtime.providers, intra_op_threads=runtime.intra_op_threads, arena=runtime.arena
    )
    loaded = load_package(candidate.folder, options=options)
    try:
        loaded = replace(loaded, session=WatchedSession(loaded.session))
        canary = Canary(loaded)
        if signature_of(candidate.folder) != signature:
            raise LoadError(f"{candidate.folder} must not change while it is loaded, it did")
    except BaseException:
        loaded.close()
        raise
    return loaded, canary, signature
