"""Brings model versions from disk into the catalog, and keeps those that fail there with their reason."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack

from pipelines.errors import GoldenMismatchError, OcellaError
from pipelines.loader import LoadedModel, load_package
from pipelines.manifest import read_manifest
from pipelines.session import SessionOptions
from serving.catalog import Catalog, ModelStatus
from serving.deploy import DeployError
from serving.metrics import Metrics
from serving.repository import Candidate, check_identity
from serving.served import ServedModel
from serving.settings import StartError
from serving.threads import Threads

_log = logging.getLogger(__name__)


class Loader:
    """Loads candidates beside each other, on threads that live as long as the loading."""

    def __init__(self, catalog: Catalog, metrics: Metrics, models: ExitStack, *, cores: int) -> None:
        """``models`` owns what was loaded; ``cores``: loads at once, and a model's concurrent runs by default."""
        self._catalog = catalog
        self._metrics = metrics
        self._models = models
        self._cores = cores

    async def load_all(self, candidates: Sequence[Candidate]) -> None:
        """Try each candidate once; raises StartError where none could be loaded."""
        threads = Threads(self._cores, name="load")
        try:
            async with asyncio.TaskGroup() as tasks:
                for candidate in candidates:
                    tasks.create_task(self._load(candidate, threads))
        finally:
            threads.close()
        self._catalog.settle()
        if not self._catalog.is_serving(""):
            failed = [f"{status.name} {status.version}: {status.reason}" for status in self._catalog.statuses()]
            raise StartError(f"no model could be loaded: {'; '.join(failed)}")

    async def _load(self, candidate: Candidate, threads: Threads) -> None:
        name, version = candidate.name, candidate.version
        meter = self._metrics.model(name, version)
        meter.ready(is_ready=False)
        start = time.monotonic()
        try:
            loaded = await threads.run(_load_package, candidate)
        except Exception as error:  # noqa: BLE001, no model's trouble may stop the others
            meter.loaded("failed", time.monotonic() - start)
            if isinstance(error, GoldenMismatchError):
                meter.golden("failed")
            known = isinstance(error, OcellaError)
            reason = str(error) if known else f"internal error while loading ({type(error).__name__})"
            _log.error("%s %s is not ready: %s", name, version, reason, exc_info=None if known else error)
            self._catalog.put_status(ModelStatus(name, version, await threads.run(_task_of, candidate), reason))
            return
        meter.loaded("ok", time.monotonic() - start)
        meter.golden("passed")
        served = self._models.enter_context(ServedModel(loaded, candidate.deploy, meter, cores=self._cores))
        self._catalog.put_ready(served)
        _log.info("%s %s is ready on %s", name, version, loaded.session.provider)


def _task_of(candidate: Candidate) -> str:
    """The task of a package that failed to load; empty where its manifest cannot be read either."""
    try:
        return read_manifest(candidate.folder, check_seal=False).head.task
    except Exception:  # noqa: BLE001, the load has already said what is wrong
        return ""


def _load_package(candidate: Candidate) -> LoadedModel:
    if candidate.problem:
        raise DeployError(candidate.problem)
    check_identity(candidate)
    runtime = candidate.deploy.runtime
    options = SessionOptions(
        providers=runtime.providers, intra_op_threads=runtime.intra_op_threads, arena=runtime.arena
    )
    return load_package(candidate.folder, options=options)
