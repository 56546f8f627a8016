import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.logs.entry import Entry
from serving.logs.render import render_colored, render_console, render_json

VALUES = st.one_of(st.text(max_size=40), st.integers(-(2**53), 2**53), st.booleans(), st.floats(0, 1e6))
FIELDS = st.lists(st.tuples(st.sampled_from("abcdefgh"), VALUES), max_size=8, unique_by=lambda pair: pair[0])
HOSTILE = ["a\nlevel=error", 'x" y=1', "\x1b[2J", "\u2028", "\x85", "\r", 'é="', "\ud800"]


@given(FIELDS, st.text(max_size=80))
def test_json_is_one_line_of_ascii_that_reads_back(fields: list[tuple[str, object]], trace: str):
    line = render_json(Entry(1_700_000_000.25, "info", "request", fields, trace))  # type: ignore[arg-type]
    assert line.isascii()
    assert line.endswith("}\n")
    assert len(line.splitlines()) == 1
    back = json.loads(line)
    assert back["time"] == "2023-11-14T22:13:20.250000Z"
    assert back.get("traceback", "") == trace
    for name, value in fields:
        assert back[name] == (pytest.approx(value, abs=5e-7) if isinstance(value, float) else value)


@given(FIELDS)
def test_a_console_line_is_one_line_without_control_characters(fields: list[tuple[str, object]]):
    text = render_console(Entry(0.0, "info", "request", fields))  # type: ignore[arg-type]
    assert text[:-1].isprintable()
    assert text[-1] == "\n"


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", ["model", "message"])
def test_no_value_begins_a_line_or_a_field_of_its_own(name: str, value: str):
    entry = Entry(0.0, "info", "request", ((name, value), ("end", 1)))
    console = render_console(entry)
    assert len(console.splitlines()) == 1
    assert console.endswith("end=1\n")
    assert console[:-1].isprintable()
    assert json.loads(render_json(entry))[name] == value


def test_a_fields_value_of_one_plain_word_needs_no_quotes():
    fields = (("message", "it is ready"), ("model", "cats"), ("words", "two words"), ("took_s", 0.5))
    assert render_console(Entry(0.0, "info", "e", fields)).partition(" info    ")[2] == (
        'it is ready model=cats words="two words" took_s=0.500000\n'
    )


def test_a_value_of_another_kind_is_written_as_text():
    line = render_json(Entry(0.0, "info", "e", (("path", Path("a\nb")),)))  # type: ignore[arg-type]
    assert json.loads(line)["path"] == "a\nb"


def test_each_line_of_a_traceback_stands_behind_a_bar():
    trace = "Traceback:\n  File\nValueError: a\x1b[2J\n12:00:00 error forged"
    lines = render_console(Entry(0.0, "error", "log", (("message", "it failed"),), trace)).splitlines()
    assert len(lines) == 5
    assert all(line.startswith("  | ") for line in lines[1:])
    assert lines[3] == "  | ValueError: a\\x1b[2J"


def test_only_what_is_no_plain_news_is_coloured():
    assert render_colored(Entry(0.0, "info", "e", ())) == render_console(Entry(0.0, "info", "e", ()))
    assert render_colored(Entry(0.0, "error", "e", ())).startswith("\x1b[31m")
