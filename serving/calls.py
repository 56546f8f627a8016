"""One request from arrival to outcome, for every transport: counted, timed, its error put through the status table."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from grpc import StatusCode

from pipelines.errors import DrainingError, ModelNotReadyError, OverloadedError
from serving.arrivals import Arrivals
from serving.catalog import Catalog
from serving.logs.entry import event
from serving.metrics import Metrics
from serving.security.limits import RateLimit, address_of
from serving.status import UNLISTED, Failure, failure_of, is_listed
from serving.trail import Frames, Trail, arrive, current_arrival, follow

REJECTIONS: Mapping[type[Exception], str] = {DrainingError: "draining", ModelNotReadyError: "not_ready"}
# A client's clock starts before ours: at its deadline it cancels this much before the one that we know, or less.
SLACK_S = 0.02
# Cancels a request that whoever cancels accounts for, such as a frame that gave way to a newer one.
SET_ASIDE = "set aside"
# Methods that say what a model is without running it: their success says nothing of how it runs.
DESCRIBING = frozenset({"DescribeModel", "ModelConfig", "ModelMetadata", "ModelReady", "ModelStatistics"})
# Methods whose requests, and so whose errors, may name people.
NAMING_PEOPLE = frozenset({"Enroll", "Verify", "Identify", "ListPeople", "RemovePerson"})
T = TypeVar("T")
Sink: TypeAlias = Callable[[Trail], None]
"""Told of each request and of each stream once it has ended; must take no time and raise nothing."""


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
        arrivals: tell which call is answered; transports begin with them.
    """

    def __init__(
        self,
        catalog: Catalog,
        metrics: Metrics,
        *,
        on_outcome: OnOutcome | None = None,
        rate: RateLimit | None = None,
        arrivals: Arrivals | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        """Build it.

        Args:
            catalog: names the models that requests are counted by.
            metrics: counts.
            on_outcome: told of each request that a model answered, or failed by its own fault.
            rate: of each client; ``None``: as often as it likes.
            arrivals: ``None``: no spans are made.
            sinks: told of each request, and of each stream.
        """
        self.arrived = 0
        self.arrivals = arrivals or Arrivals()
        self._sinks = tuple(sinks)
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
        labels = self._catalog.labels(model, version) if model else ("", "")
        trail = Trail(current_arrival(), method, model, labels[1])
        follow(trail)
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
            self._end(trail, code.name)
            meter.done(code.name, trail.total_s)
            if not expired:
                meter.cancelled()
            raise
        except Exception as error:  # noqa: BLE001, the table decides what the caller is told
            failure = self._failure(error, trail)
            self._end(trail, failure.status.grpc.name, failure)
            meter.done(trail.code, trail.total_s)
            if isinstance(error, OverloadedError):
                meter.rejected(error.reason)
            elif type(error) in REJECTIONS:
                meter.rejected(REJECTIONS[type(error)])
            if failure.status is UNLISTED:
                self._tell(labels, ok=False)
            return failure
        if method not in DESCRIBING:
            self._tell(labels, ok=True)
        self._end(trail, StatusCode.OK.name)
        meter.done(trail.code, trail.total_s)
        return outcome

    @contextmanager
    def stream(self, method: str, *, deadline: float) -> Iterator[Trail]:
        """Sinks are told of the requests that run inside as of one stream; ``deadline`` is as in ``run``.

        Where the stream is refused as a whole, ``failure`` of the trail says so, and it is counted as one request.
        """
        arrival = current_arrival()
        whole = Trail(arrival, method)
        whole.frames = Frames()
        arrive(replace(arrival, stream=whole))
        code = StatusCode.OK
        try:
            yield whole
        except asyncio.CancelledError:
            code = StatusCode.DEADLINE_EXCEEDED if time.monotonic() >= deadline - SLACK_S else StatusCode.CANCELLED
            raise
        except BaseException:
            code = whole.failure.status.grpc if whole.failure else StatusCode.UNKNOWN
            self._metrics.call("", "", method).done(code.name, time.monotonic() - whole.start)
            raise
        finally:
            self._end(whole, code.name, whole.failure)

    def _end(self, trail: Trail, code: str, failure: Failure | None = None) -> None:
        trail.end(code, failure)
        if trail.arrival.stream is not None:
            trail.arrival.stream.include(trail)
        for sink in self._sinks:
            sink(trail)

    def _tell(self, labels: tuple[str, str], *, ok: bool) -> None:
        name, version = labels
        if self._on_outcome and version:
            self._on_outcome(name, int(version), ok=ok)

    def _failure(self, error: Exception, trail: Trail) -> Failure:
        request_id, asked = trail.arrival.request_id, (trail.method, trail.model[:64])
        if not is_listed(error):
            shown = _unsaid(error) if trail.method in NAMING_PEOPLE else error
            what = event("internal_error", request_id=request_id)
            _log.error("internal error, request %s: %s of model %r", request_id, *asked, exc_info=shown, extra=what)
        return failure_of(error, request_id=request_id)


class UnsaidError(Exception):
    """Stands in the log for an error whose own words may name a person; its text is the other's class."""


def _unsaid(error: Exception) -> UnsaidError:
    return UnsaidError(type(error).__name__).with_traceback(error.__traceback__)


def _take(rate: RateLimit, client: str, work: Coroutine[Any, Any, Any]) -> None:
    """Count a request of a client; where it asked too often, ``work`` is not begun and OverloadedError is raised."""
    try:
        rate.take(address_of(client))
    except OverloadedError:
        work.close()
        raise
