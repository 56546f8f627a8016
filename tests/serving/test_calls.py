import asyncio
import logging
import math
import re
import time
from typing import Any

import pytest

from pipelines.errors import DrainingError, InvalidRequestError, ModelNotReadyError, ModelRunError, OverloadedError
from serving.calls import Calls
from serving.catalog import Catalog, ModelStatus
from serving.metrics import Metrics
from serving.status import Failure


def calls_of() -> tuple[Calls, Metrics]:
    catalog, metrics = Catalog(), Metrics()
    catalog.put_status(ModelStatus("faces", 1))
    return Calls(catalog, metrics), metrics


async def answer(value: Any) -> Any:
    if isinstance(value, BaseException):
        raise value
    return value


async def run(calls: Calls, value: Any, *, deadline: float = math.inf, model: str = "faces") -> Any:
    return await calls.run("Predict", answer(value), deadline=deadline, model=model, version=1)


def counted(metrics: Metrics, name: str = "ocella_requests_total", **labels: str) -> float:
    base = {"model": "faces", "version": "1"}
    return metrics.registry.get_sample_value(name, base | labels) or 0.0


async def test_an_answer_passes_through_and_is_counted_and_timed_once():
    calls, metrics = calls_of()
    assert await run(calls, "answer") == "answer"
    assert counted(metrics, method="Predict", code="OK") == 1
    assert counted(metrics, "ocella_request_duration_seconds_count", method="Predict") == 1


async def test_a_listed_error_becomes_a_failure_under_its_code():
    calls, metrics = calls_of()
    failure = await run(calls, InvalidRequestError("top_k must be 1 or more, got 0"))
    assert isinstance(failure, Failure)
    assert failure.message == "top_k must be 1 or more, got 0"
    assert counted(metrics, method="Predict", code="INVALID_ARGUMENT") == 1


async def test_an_unlisted_error_is_logged_whole_under_the_id_that_the_caller_gets(caplog: pytest.LogCaptureFixture):
    calls, metrics = calls_of()
    with caplog.at_level(logging.ERROR):
        failure = await run(calls, ModelRunError("the graph is broken"))
    request_id = re.fullmatch(r"internal error, request ([0-9a-f]{16})", failure.message)
    assert request_id
    assert request_id[1] in caplog.text
    assert "ModelRunError: the graph is broken" in caplog.text
    assert counted(metrics, method="Predict", code="INTERNAL") == 1


async def test_a_listed_error_is_not_logged_as_ours(caplog: pytest.LogCaptureFixture):
    calls, _ = calls_of()
    await run(calls, InvalidRequestError("no"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OverloadedError("full", retry_after_s=1), "overloaded"),
        (DrainingError("stopping"), "draining"),
        (ModelNotReadyError("loading"), "not_ready"),
    ],
)
async def test_a_request_refused_unseen_is_counted_by_its_reason(error: Exception, reason: str):
    calls, metrics = calls_of()
    await run(calls, error)
    assert counted(metrics, "ocella_rejected_total", reason=reason) == 1


@pytest.mark.parametrize(
    ("deadline_in_s", "code", "cancelled"),
    [(60, "CANCELLED", 1), (0.005, "DEADLINE_EXCEEDED", 0), (-1, "DEADLINE_EXCEEDED", 0)],
)
async def test_a_cancellation_is_counted_once_and_goes_on(deadline_in_s: float, code: str, cancelled: int):
    calls, metrics = calls_of()
    with pytest.raises(asyncio.CancelledError):
        await run(calls, asyncio.CancelledError(), deadline=time.monotonic() + deadline_in_s)
    assert counted(metrics, method="Predict", code=code) == 1
    assert counted(metrics, "ocella_cancelled_total") == cancelled
    assert counted(metrics, "ocella_request_duration_seconds_count", method="Predict") == 1


async def test_unknown_names_share_one_label():
    calls, metrics = calls_of()
    for i in range(5):
        await run(calls, InvalidRequestError("no"), model=f"no-{i}")
    got = metrics.registry.get_sample_value(
        "ocella_requests_total",
        {"model": "_unknown", "version": "", "method": "Predict", "code": "INVALID_ARGUMENT"},
    )
    assert got == 5
