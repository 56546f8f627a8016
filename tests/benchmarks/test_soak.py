"""The soak finds what it is to find, on made evidence and on a real server."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.soak.evidence import Row, Scraped, counts_of, read_metrics
from benchmarks.soak.judge import (
    MIB,
    Check,
    check_errors,
    check_log_against_client,
    check_memory,
    check_metrics_against_log,
    check_reloads,
)
from benchmarks.soak.outcome import CANCELLED, OK, Outcome

FINE = Outcome(request_id="1", method="Predict", code=OK, allowed=frozenset({OK}))
LEFT = Outcome(request_id="2", method="Predict", code=CANCELLED, allowed=frozenset({OK, CANCELLED}))
STREAM = Outcome(
    request_id="3", method="PredictStream", code=OK, allowed=frozenset({OK}), frames={"OK": 2, "INVALID_ARGUMENT": 1}
)


def line(outcome: Outcome, **over: object) -> Row:
    event = "stream" if outcome.frames else "request"
    frames = {f"frames_{code.lower()}": count for code, count in outcome.frames.items()}
    row = {"event": event, "level": "info", "request_id": outcome.request_id, "method": outcome.method}
    return row | {"code": outcome.code, "total_s": 0.25} | frames | over


ROWS = [line(FINE), line(LEFT), line(STREAM, frames_dropped=0)]
METRICS = Scraped(
    Counter(
        {
            ("Predict", "OK"): 1,
            ("Predict", "CANCELLED"): 1,
            ("PredictStream", "OK"): 2,
            ("PredictStream", "INVALID_ARGUMENT"): 1,
        }
    ),
    {"Predict": 0.5, "PredictStream": 9.0},
    dropped=0,
    resident_bytes=1.0,
    inflight=0,
)


def holds(check: Check) -> bool:
    return not check.misses


def test_one_story_told_three_times_holds():
    outcomes = [FINE, LEFT, STREAM]
    assert holds(check_errors(outcomes, ROWS))
    assert holds(check_log_against_client(outcomes, ROWS))
    assert holds(check_metrics_against_log(ROWS, METRICS))


def test_what_a_client_left_may_be_logged_as_answered_or_not_at_all():
    assert holds(check_log_against_client([LEFT], [line(LEFT, code=OK)]))
    assert holds(check_log_against_client([LEFT], []))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [line(FINE), line(FINE)],
        [line(FINE, code="INTERNAL")],
        [line(FINE, method="ModelInfer")],
        [line(FINE), line(FINE, request_id="nobody's")],
        [line(FINE), {"event": "log_dropped", "level": "warning", "message": "7 lines were dropped"}],
    ],
    ids=["lost", "twice", "other code", "other method", "unasked", "dropped"],
)
def test_a_log_that_differs_from_its_client_is_found(rows: list[Row]):
    assert not holds(check_log_against_client([FINE], rows))


def test_a_stream_whose_frames_differ_is_found():
    assert not holds(check_log_against_client([STREAM], [line(STREAM, frames_ok=3)]))


def test_metrics_that_count_differently_are_found():
    assert not holds(check_metrics_against_log(ROWS[1:], METRICS))
    assert not holds(check_metrics_against_log(ROWS, replace(METRICS, seconds={"Predict": 0.51})))
    assert not holds(check_metrics_against_log(ROWS, replace(METRICS, dropped=1)))


@pytest.mark.parametrize(
    "row",
    [
        {"event": "request", "level": "error", "code": "INTERNAL"},
        {"event": "log", "level": "error", "message": "oh"},
        {"event": "model_load_failed", "level": "error", "message": "oh", "traceback": "Traceback"},
    ],
)
def test_an_error_that_the_soak_did_not_cause_is_found(row: Row):
    assert not holds(check_errors([], [row]))
    assert holds(check_errors([], [{"event": "model_load_failed", "level": "error", "message": "as it should"}]))


def test_an_answer_that_was_not_to_be_expected_is_found():
    check = check_errors([replace(FINE, code="UNAVAILABLE", words="loading")], [])
    assert check.misses == ("1: Predict UNAVAILABLE: loading",)


@pytest.mark.parametrize(
    ("bytes_at", "flat"),
    [
        (lambda t: 300 * MIB, True),
        (lambda t: 300 * MIB + (t % 7) * MIB, True),
        (lambda t: min(t, 150) * 2 * MIB, True),  # it grows while it warms up
        (lambda t: 300 * MIB + t * MIB / 4, False),
        (lambda t: 300 * MIB - t * MIB / 4, True),
        (lambda t: 300 * MIB + (t >= 550) * 90 * MIB, True),  # one step is no slope
    ],
)
def test_memory_that_grows_after_its_warm_up_is_found(bytes_at, flat: bool):
    assert holds(check_memory([(float(t), float(bytes_at(t))) for t in range(0, 600, 5)])) is flat


def test_a_soak_without_a_broken_load_is_found():
    good = Outcome(request_id="4", method="RepositoryModelLoad", code=OK, allowed=frozenset({OK}))
    assert not holds(check_reloads([good]))
    assert holds(check_reloads([good, replace(good, code="UNAVAILABLE")]))


def test_metrics_are_read_from_their_text():
    text = (
        "# TYPE ocella_requests counter\n"
        'ocella_requests_total{model="a",version="1",method="Predict",code="OK"} 3\n'
        'ocella_requests_total{model="b",version="1",method="Predict",code="OK"} 4\n'
        "# TYPE ocella_stream_frames counter\n"
        'ocella_stream_frames_total{outcome="dropped"} 2\n'
        "# TYPE ocella_inflight_requests gauge\n"
        'ocella_inflight_requests{model="a",version="1"} 1\n'
    )
    read = read_metrics(text)
    assert read.requests == {("Predict", "OK"): 7}
    assert (read.dropped, read.inflight) == (2, 1)


def test_requests_inside_of_streams_count_as_the_metrics_do():
    assert counts_of(ROWS) == METRICS.requests


def test_a_stream_that_was_refused_as_a_whole_counts_as_one_request():
    refused = line(replace(STREAM, frames={}), event="stream", code="INVALID_ARGUMENT", reason="InvalidRequestError")
    assert counts_of([refused]) == {("PredictStream", "INVALID_ARGUMENT"): 1}


@pytest.mark.slow
def test_a_minute_of_soak_holds():
    command = (sys.executable, "-m", "benchmarks.soak", "--minutes", "1.2", "--workers", "4")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MISS" not in done.stdout
