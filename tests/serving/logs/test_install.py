"""A server process's log as whoever reads its standard error sees it."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UnknownModelError
from serving.client import VisionClient, carrying
from serving.logs.entry import event
from serving.logs.install import logging_to_stderr, server_log
from tests.serving.servers import PATIENCE_S, settings_for
from tests.serving.test_cli import serving

NATIVE = (
    "import os\n"
    "from serving.logs.install import logging_to_stderr\n"
    "with logging_to_stderr(log_format={form!r}, level='info'):\n"
    "    os.write(2, b'a library speaks\\nand goes on')\n"
    "os.write(2, b'after it\\n')\n"
)


def run(code: str) -> str:
    """What a Python process writes to standard error, which is a pipe."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "log_format", "begins"),
    [
        (io.StringIO, "auto", '{"time":'),
        (Terminal, "auto", "\x1b["),
        (Terminal, "json", '{"time":'),
        (io.StringIO, "console", "2"),
    ],
)
def test_the_form_follows_the_option_and_without_one_the_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], log_format: Any, begins: str
):
    written = stream()
    monkeypatch.setattr(sys, "stderr", written)
    with logging_to_stderr(log_format=log_format, level="info"):
        logging.getLogger("serving").warning("careful")
    text = written.getvalue()
    assert text.startswith(begins) or (begins == "2" and text[0] in "012")
    assert "careful" in text


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_that_of_our_lines_and_never_opens_the_libraries(
    monkeypatch: pytest.MonkeyPatch, level: Any, ours: list[str], theirs: list[str]
):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with logging_to_stderr(log_format="json", level=level):
        for name in ("serving.test", "uvicorn.error"):
            for method in ("debug", "info", "warning", "error"):
                getattr(logging.getLogger(name), method)("said")
    rows = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [row["level"] for row in rows if row["logger"] == "serving.test"] == ours
    assert [row["level"] for row in rows if row["logger"] == "uvicorn.error"] == theirs


def test_an_events_fields_and_a_traceback_stand_beside_the_words(monkeypatch: pytest.MonkeyPatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with logging_to_stderr(log_format="json", level="info"):
        try:
            raise KeyError("broken\nin two")
        except KeyError:
            what = event("model_load_failed", model="cats", version=2)
            logging.getLogger("serving").exception("%s failed", "it", extra=what)
    (row,) = [json.loads(line) for line in written.getvalue().splitlines()]
    assert (row["event"], row["message"], row["model"], row["version"]) == ("model_load_failed", "it failed", "cats", 2)
    assert row["traceback"].splitlines()[-1] == "KeyError: 'broken\\nin two'"


@pytest.mark.parametrize(("kind", "written"), [("ExecuteBatchError", 0), ("InternalError", 1)])
def test_a_client_that_left_before_its_refusal_was_sent_is_no_error(
    monkeypatch: pytest.MonkeyPatch, kind: str, written: int
):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    error = type(kind, (Exception,), {})("raised in core")
    with logging_to_stderr(log_format="json", level="info"):
        logging.getLogger("grpc._cython.cygrpc").error("in a servicer method", exc_info=error)
    assert len(stream.getvalue().splitlines()) == written


@pytest.mark.parametrize(("over", "said"), [({}, None), ({"member_of": Path("sockets"), "member": 1}, 1)])
def test_one_of_several_processes_names_itself_in_every_line(
    monkeypatch: pytest.MonkeyPatch, over: dict[str, Any], said: int | None
):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with server_log(settings_for(log_format="json", **over)):
        logging.getLogger("serving").info("said")
    assert json.loads(written.getvalue()).get("process") == said


def test_loggings_own_settings_come_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    root, ours = logging.getLogger(), logging.getLogger("serving")
    before = (root.handlers[:], root.level, ours.level)
    with logging_to_stderr(log_format="json", level="debug"):
        assert ours.level == logging.DEBUG
    assert (root.handlers[:], root.level, ours.level) == before


def test_what_a_native_library_writes_becomes_json_too():
    *lines, last = run(NATIVE.format(form="json")).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["event"], row["message"]) for row in rows] == [
        ("stderr", "a library speaks"),
        ("stderr", "and goes on"),
    ]
    assert last == "after it"


def test_for_people_a_native_library_writes_as_it_does():
    assert run(NATIVE.format(form="console")) == "a library speaks\nand goes onafter it\n"


def test_a_crash_still_says_where():
    code = (
        "import faulthandler\n"
        "from serving.logs.install import logging_to_stderr\n"
        "with logging_to_stderr(log_format='json', level='info'):\n"
        "    faulthandler._sigsegv()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode < 0
    assert "Fatal Python error: Segmentation fault" in done.stderr


def test_a_server_tells_its_life_and_its_requests_in_json_lines(repository: Path, photos: list[bytes]):
    with serving("--models", str(repository)) as (process, address):
        with VisionClient(address, timeout_s=PATIENCE_S) as client, carrying(request_id="order 66"):
            client.predict("classes", photos[0])
            with pytest.raises(UnknownModelError):
                client.predict("no such model", photos[0])
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        rows = [json.loads(line) for line in process.stderr]
    events = [row["event"] for row in rows]
    assert events[0] == "server_listening"
    assert events[1:6].count("model_ready") == 4
    assert events[5:] == ["server_ready", "request", "request", "server_stopping"]
    assert rows[0]["grpc"] == address
    assert [(row["request_id"], row["code"]) for row in rows if row["event"] == "request"] == [
        ("order 66", "OK"),
        ("order 66", "NOT_FOUND"),
    ]


def test_a_server_that_is_told_so_writes_errors_alone(repository: Path, photos: list[bytes]):
    with serving("--models", str(repository), "--log-level", "error", "--log-format", "console") as (process, address):
        with VisionClient(address, timeout_s=PATIENCE_S) as client:
            client.predict("classes", photos[0])
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""
