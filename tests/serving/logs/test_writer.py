import json
import threading

import pytest

from serving.logs.entry import Entry
from serving.logs.render import render_json
from serving.logs.writer import ATOMIC_BYTES, LogWriter, parts_of
from tests.serving.servers import PATIENCE_S
from tests.serving.trails import Lines, writing_to

ENTRY = Entry(0.0, "info", "test", (("n", 1),))


def test_entries_are_written_in_their_order_with_the_fields_of_every_line():
    lines = Lines()
    with writing_to(lines, always=(("process", 2),)) as writer:
        for i in range(100):
            writer.put(Entry(float(i), "info", "test", (("i", i),)))
    assert [(row["process"], row["i"]) for row in lines.rows] == [(2, i) for i in range(100)]


def test_what_makes_an_entry_runs_on_the_logs_thread():
    lines, threads = Lines(), set()

    def make(value: int) -> Entry:
        threads.add(threading.current_thread().name)
        return Entry(0.0, "info", "test", (("value", value),))

    with writing_to(lines) as writer:
        writer.put_later(make, 7)
    assert (threads, lines.rows[0]["value"]) == ({"log"}, 7)


def test_dropped_lines_are_counted_in_a_line_of_their_own():
    entered, gate = threading.Event(), threading.Event()
    lines = Lines()

    def write(data: bytes) -> None:
        entered.set()
        assert gate.wait(PATIENCE_S), "the test never opened the gate"
        lines(data)

    writer = LogWriter(write, render_json, capacity=2)
    writer.put(ENTRY)
    assert entered.wait(PATIENCE_S)
    for _ in range(9):
        writer.put(ENTRY)
    gate.set()
    writer.close()
    assert [row["event"] for row in lines.rows] == ["test", "test", "test", "log_dropped"]
    assert lines.rows[-1]["lines"] == 7


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_log_that_nobody_takes_is_said_once_somebody_does(error: Exception):
    lines, failed = Lines(), threading.Event()

    def write(data: bytes) -> None:
        if not failed.is_set():
            failed.set()
            raise error
        lines(data)

    writer = LogWriter(write, render_json)
    writer.put(ENTRY)
    assert failed.wait(PATIENCE_S)
    writer.put(ENTRY)
    writer.close()
    assert [row["event"] for row in lines.rows] == ["test", "log_dropped"]
    assert lines.rows[-1]["lines"] == 1


def test_parts_hold_whole_lines_and_no_more_than_a_pipe_takes_at_once():
    lines = [json.dumps("x" * (i * 37 % 500)).encode() + b"\n" for i in range(200)]
    parts = list(parts_of(lines))
    assert b"".join(parts) == b"".join(lines)
    assert all(len(part) <= ATOMIC_BYTES and part.endswith(b"\n") for part in parts)
    assert len(parts) < 20


def test_a_line_longer_than_that_is_a_part_of_its_own():
    long = b"x" * (ATOMIC_BYTES + 1)
    assert list(parts_of([b"a\n", long, b"b\n", b"c\n"])) == [b"a\n", long, b"b\nc\n"]
    assert list(parts_of([])) == []
