"""One request from arrival to outcome, for every transport: counted, timed, its error put through the status table."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from grpc import StatusCode

from pipelines.errors import DrainingError, ModelNotReadyError, OverloadedError
from serving.catalog import Catalog
from serving.metrics import Metrics
from serving.security.limits import RateLimit, address_of
from serving.status import UNLISTED, Failure, failure_of, is_listed

REJECTIONS: Mapping[type[Exception], str] = {DrainingError: "draining", ModelNotReadyError: "not_ready"}
# A client's clock starts before ours: at its deadline it cancels this much before the one that we know, or less.
SLACK_S = 0.02
# Cancels a request that whoever cancels accounts for, such as a frame that gave way to a newer one.
SET_ASIDE = "set aside"
# Methods that say what a model is without running it: their success says nothing of how it runs.
DESCRIBING = frozenset({"DescribeModel", "ModelConfig", "ModelMetadata", "ModelReady", "ModelStatistics"})
T = TypeVar("T")


class OnOutcome(Protocol):
    """Told of a request to a model version."""

    def __call__(self, name: str, version: int, /, *, ok: bool) -> None:
        """``ok``: the model answered; else it failed by its own fault."""
        ...


_log = logging.getLogger(__name__)


class Calls:
    """Runs requests and accounts for each exactly once.

    Attributes:
        arrived: requests that came so far.
    """

    def __init__(
        self,
        catalog: Catalog,
        metrics: Metrics,
        *,
        on_outcome: OnOutcome | None = None,
        rate: RateLimit | None = None,
    ) -> None:
        """Build it.

        Args:
            catalog: names the models that requests are counted by.
            metrics: counts.
            on_outcome: told of each request that a model answered, or failed by its own fault.
            rate: of each client; ``None``: as often as it likes.
        """
        self.arrived = 0
        self._rate = rate
        self._on_outcome = on_outcome
        self._catalog = catalog
        self._metrics = metrics

    async def run(
        self,
        method: str,
        work: Coroutine[Any, Any, T],
        *,
        deadline: float,
        model: str = "",
        version: int = 0,
        client: str = "",
    ) -> T | Failure:
        """Await ``work``; an error comes back as a Failure, a cancellation is counted and goes on.

        Args:
            method: bounded name of what was asked for.
            work: the request itself.
            deadline: monotonic seconds; a cancellation then or later counts as a passed deadline.
            model: as the request names it; empty where it names none.
            version: as the request names it.
            client: who asks; its rate is not limited where it is empty.
        """
        self.arrived += 1
        start = time.monotonic()
        labels = self._catalog.labels(model, version) if model else ("", "")
        meter = self._metrics.call(*labels, method)
        try:
            if self._rate is not None and client:
                _take(self._rate, client, work)
            outcome = await work
        except asyncio.CancelledError as error:
            if SET_ASIDE in error.args:
                raise
            expired = time.monotonic() >= deadline - SLACK_S
            code = StatusCode.DEADLINE_EXCEEDED if expired else StatusCode.CANCELLED
            meter.done(code.name, time.monotonic() - start)
            if not expired:
                meter.cancelled()
            raise
        except Exception as error:  # noqa: BLE001, the table decides what the caller is told
            failure = self._failure(error, method, model)
            meter.done(failure.status.grpc.name, time.monotonic() - start)
            if isinstance(error, OverloadedError):
                meter.rejected(error.reason)
            elif type(error) in REJECTIONS:
                meter.rejected(REJECTIONS[type(error)])
            if failure.status is UNLISTED:
                self._tell(labels, ok=False)
            return failure
        if method not in DESCRIBING:
            self._tell(labels, ok=True)
        meter.done(StatusCode.OK.name, time.monotonic() - start)
        return outcome

    def _tell(self, labels: tuple[str, str], *, ok: bool) -> None:
        name, version = labels
        if self._on_outcome and version:
            self._on_outcome(name, int(version), ok=ok)

    def _failure(self, error: Exception, method: str, model: str) -> Failure:
        request_id = secrets.token_hex(8)
        if not is_listed(error):
            _log.error("internal error, request %s: %s of model %r", request_id, method, model[:64], exc_info=error)
        return failure_of(error, request_id=request_id)


def _take(rate: RateLimit, client: str, work: Coroutine[Any, Any, Any]) -> None:
    """Count a request of a client; where it asked too often, ``work`` is not begun and OverloadedError is raised."""
    try:
        rate.take(address_of(client))
    except OverloadedError:
        work.close()
        raise
