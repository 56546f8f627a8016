import json
import subprocess
import sys
from pathlib import Path

import pytest

import ocella
from serving.client.environment import AUTHORITY, CERTIFICATE, KEY, SERVER_NAME, TOKEN
from serving.doctor.read import read_facts, unknown_variables
from serving.doctor.report import rows, to_json, to_text
from serving.doctor.rules import findings
from tests.serving.doctor.environments import environment


def test_this_environment_is_read_as_it_is():
    facts = read_facts()
    assert facts.python == ".".join(map(str, sys.version_info[:3]))
    assert facts.packages["ocella"] == facts.ocella
    assert "CPUExecutionProvider" in facts.providers
    assert facts.broken_imports == {}
    assert facts.memory_bytes is not None
    assert facts.temporary.writable
    assert set(facts.built_in_models) == {"digits", "nuclei", "orl-faces", "trees"}
    assert "protobuf" in {requirement.name for requirement in facts.requirements}


def test_a_module_that_cannot_be_imported_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "cv2" in read_facts().broken_imports


def test_misspelt_variables_are_found_and_settings_are_not():
    names = ["OCELLA_PORT", "ocella_http_port", "OCELLA_CACHE", "OCELLA_PROT", "PATH"]
    assert unknown_variables(names) == {"OCELLA_PROT"}


def test_who_a_command_is_to_a_server_is_no_unknown_variable():
    assert unknown_variables((TOKEN, AUTHORITY, CERTIFICATE, KEY, SERVER_NAME)) == set()


def test_a_folder_that_is_not_there_yet_is_judged_by_its_parent(tmp_path: Path):
    facts = read_facts({"OCELLA_CACHE": str(tmp_path / "a" / "b")})
    assert (facts.cache.path, facts.cache.writable) == (tmp_path / "a" / "b", True)


def test_text_shows_each_row_and_each_finding():
    facts = environment(memory_bytes=0)
    text = to_text(facts, findings(facts))
    assert all(name in text and value in text for name, value in rows(facts).items())
    assert "fix: 0 MiB of memory are available" in text
    assert "nothing must be fixed" not in text


def test_text_says_when_nothing_must_be_fixed():
    facts = environment(shared_memory_bytes=None)
    assert to_text(facts, findings(facts)).endswith("nothing must be fixed")


def test_what_the_system_does_not_say_is_not_said_to_be_none():
    assert "unknown how much available" in rows(environment(memory_bytes=None))["memory"]


def test_json_holds_findings_and_numbers_without_infinities():
    facts = environment(memory_bytes=0)
    document = json.loads(json.dumps(to_json(facts, findings(facts)), allow_nan=False))
    assert document["ok"] is False
    assert document["findings"][0]["level"] == "fix"
    assert document["cores"] == {"usable": 2, "affinity": 4, "quota": 2.0}


def test_the_command_prints_one_json_document(capsys: pytest.CaptureFixture[str]):
    code = ocella.main(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["ok"] else 1)


def test_the_command_ends_with_1_where_something_must_be_fixed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("serving.doctor.read.read_facts", lambda: environment(memory_bytes=0))
    assert ocella.main(["doctor"]) == 1
    assert "fix: 0 MiB" in capsys.readouterr().out


def test_on_a_terminal_it_is_a_table():
    code = "import sys; sys.stdout.isatty = lambda: True; import ocella; ocella.main(['doctor'])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "┌" in shown
    assert "CPUExecutionProvider" in shown
