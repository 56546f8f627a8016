"""What is made of the time that a golden canary takes; what is made of its answers is in ``test_guard``."""

import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.golden import GoldenReport, replay
from serving.deploy import Deploy
from serving.headroom import Headroom
from serving.judge import Judge
from serving.loading import Entry, Loader
from serving.metrics import Metrics
from serving.repository import Candidate
from serving.threads import Threads
from tests.cascades import make_cascade
from tests.packages import make_package
from tests.serving.servers import PATIENCE_S


class Clock:
    """Says how long the rows of golden replays took, in place of what they did take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.row_ms = 1.0

        def timed(*arguments: Any) -> GoldenReport:
            return replace(replay(*arguments), row_s=self.row_ms / 1000)

        monkeypatch.setattr("serving.canary.replay", timed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def load(folder: Path, metrics: Metrics) -> Entry:
    threads = Threads(1, name="load")
    try:
        loader = Loader(metrics, Headroom(budget_mb=None, shared=False), cores=1, timeout_s=PATIENCE_S)
        return await loader.load(Candidate(folder.parent.name, 1, folder, Deploy()), threads)
    finally:
        threads.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def entry(tmp_path: Path, metrics: Metrics) -> AsyncIterator[Entry]:
    loaded = await load(make_package(tmp_path / "classes" / "1", name="classes"), metrics)
    yield loaded
    loaded.close()


async def verdicts(judge: Judge, entry: Entry, clock: Clock, rows_ms: Iterable[float]) -> list[str]:
    found = []
    for clock.row_ms in rows_ms:
        found.append(await judge.verdict(entry))
    return found


LATE = "golden canary late: a golden row must take at most 5 ms, it takes 12.5 ms, 2 canaries in a row"


async def test_two_late_canaries_in_a_row_are_a_fault_that_gives_both_numbers(entry: Entry, clock: Clock):
    judge = Judge(timeout_s=PATIENCE_S)
    judge.allow("classes", canary_max_ms=5)
    assert await verdicts(judge, entry, clock, [5.0, 12.5, 12.5]) == ["", "", LATE]


async def test_one_late_canary_between_others_is_a_doubt_and_no_fault(
    entry: Entry, clock: Clock, caplog: pytest.LogCaptureFixture
):
    judge = Judge(timeout_s=PATIENCE_S)
    judge.allow("classes", canary_max_ms=5)
    assert not judge.doubts(entry)
    with caplog.at_level(logging.WARNING):
        assert await verdicts(judge, entry, clock, [12.5]) == [""]
    assert "classes 1: a golden row must take at most 5 ms, it takes 12.5 ms; the next canary decides" in caplog.text
    assert judge.doubts(entry)
    assert await verdicts(judge, entry, clock, [4.0]) == [""]
    assert not judge.doubts(entry)
    assert await verdicts(judge, entry, clock, [12.5, 4.0, 12.5]) == ["", "", ""]


async def test_without_a_limit_of_its_own_no_time_is_too_long_for_a_model(entry: Entry, clock: Clock):
    judge = Judge(timeout_s=PATIENCE_S)
    judge.allow("other", canary_max_ms=5)
    assert await verdicts(judge, entry, clock, [1e6, 1e6, 1e6]) == ["", "", ""]


async def test_a_limit_that_is_taken_back_ends_the_fault(entry: Entry, clock: Clock):
    judge = Judge(timeout_s=PATIENCE_S)
    judge.allow("classes", canary_max_ms=5)
    assert await verdicts(judge, entry, clock, [12.5, 12.5]) == ["", LATE]
    judge.allow("classes", canary_max_ms=None)
    assert await verdicts(judge, entry, clock, [12.5]) == [""]


async def test_late_replays_are_counted_apart_from_wrong_ones(entry: Entry, clock: Clock, metrics: Metrics):
    judge = Judge(timeout_s=PATIENCE_S)
    judge.allow("classes", canary_max_ms=5)
    await verdicts(judge, entry, clock, [1.0, 12.5, 12.5, 12.5])
    labels = {"model": "classes", "version": "1"}
    value = metrics.registry.get_sample_value
    counts = {
        result: value("ocella_golden_checks_total", {**labels, "result": result})
        for result in ("passed", "late", "failed")
    }
    assert counts == {"passed": 2, "late": 3, "failed": 0}  # one at the load
    assert value("ocella_canary_row_seconds", labels) == 0.0125


async def test_a_canary_of_what_is_freed_meanwhile_says_nothing(
    entry: Entry, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
):
    def free_first(*arguments: Any) -> GoldenReport:
        entry.close()
        return replay(*arguments)

    monkeypatch.setattr("serving.canary.replay", free_first)
    assert await Judge(timeout_s=PATIENCE_S).verdict(entry) == ""
    labels = {"model": "classes", "version": "1", "result": "failed"}
    assert metrics.registry.get_sample_value("ocella_golden_checks_total", labels) == 0


async def test_a_row_of_a_cascade_takes_what_a_row_of_each_of_its_models_takes(
    tmp_path: Path, metrics: Metrics, clock: Clock
):
    folder = make_cascade(tmp_path / "pair" / "1", second="classification", crop=None, name="pair")
    entry = await load(folder, metrics)
    try:
        judge = Judge(timeout_s=PATIENCE_S)
        judge.allow("pair", canary_max_ms=5)
        late = LATE.replace("12.5", "6")
        assert await verdicts(judge, entry, clock, [2.5, 3.0, 3.0]) == ["", "", late]
    finally:
        entry.close()
