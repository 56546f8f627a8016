"""``ocella export``: what it prints, what it refuses, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import export.export_cli as command
import ocella
from export.draft import ExportChoices
from pipelines.loader import load_package
from tests.export.subjects import classifier_net, subject

QUICK = ["--exporter", "torchscript"]


@pytest.fixture
def tiny(monkeypatch):
    """Let the name ``tiny`` be a classifier of a few layers."""
    good = subject(classifier_net())
    monkeypatch.setattr("export.named.table.named_subject", lambda name, **_: good)
    return good


def test_a_model_by_name_becomes_a_package_and_the_table_says_why(tiny, tmp_path, capsys):
    assert ocella.main(["export", "tiny", "--out", str(tmp_path / "tiny"), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "because: a few layers in float32" in out
    assert "torchscript: passed, " in out
    assert "scaled, since the weights are random: last: gain" in out
    load_package(tmp_path / "tiny").close()


def test_json_is_one_document_with_every_comparison(tiny, tmp_path, capsys):
    assert ocella.main(["export", "tiny", "--out", str(tmp_path / "tiny"), "--json", *QUICK]) == 0
    document = json.loads(capsys.readouterr().out)
    attempt = document["attempts"][-1]
    assert document["package"] == str(tmp_path / "tiny")
    assert attempt["passed"]
    assert len(attempt["results"]) == attempt["comparisons"]
    assert attempt["decoded_compared"] > 0


def test_a_miss_is_exit_code_1_one_line_and_no_package(tiny, tmp_path, capsys):
    with torch.no_grad():
        tiny.module.second.weight.zero_()  # one answer to everything
    assert ocella.main(["export", "tiny", "--out", str(tmp_path / "tiny"), "--json", *QUICK]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["package"] is None
    assert "error: tiny: no package, the gate was not passed" in captured.err
    assert len(captured.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_name_version_and_samples_are_the_callers(tiny, tmp_path, capsys):
    image = Path("examples/images/astronaut.png")
    words = ["export", "tiny", "--name", "mine", "--model-version", "7", "--sample", str(image)]
    assert ocella.main([*words, "--out", str(tmp_path / "p"), *QUICK]) == 0
    with load_package(tmp_path / "p") as loaded:
        assert (loaded.manifest.name, loaded.manifest.version) == ("mine", 7)
        assert [sample.image for sample in loaded.manifest.golden.samples] == ["golden/sample-0.png"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--precision", "int4"], 2, "must be fp32 or fp16, got 'int4'"),
        (["--pixels", "int8"], 2, "must be uint8 or float32, got 'int8'"),
        (["--exporter", "tflite"], 2, "must be auto or dynamo or torchscript, got 'tflite'"),
        (["--size", "big"], 2, "must be HEIGHTxWIDTH, as 224x224, got 'big'"),
        (["--name", "A b"], 2, "must be small letters"),
        (["--sample", "nowhere.png"], 1, "sample nowhere.png cannot be read: No such file or directory"),
        (["--sample", "pyproject.toml"], 1, "sample pyproject.toml: "),
        (["--nms", "graph"], 1, "tiny: --nms graph has no effect on classification: it is for detection"),
        (["--out", "tests"], 1, "tests must be a new folder or a package to replace, it is neither"),
        (["--out", "Makefile", "--replace"], 1, "Makefile must be a new folder or a package to replace, it is neither"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(tiny, words, code, message, capsys):
    assert ocella.main(["export", "tiny", *words]) == code
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in err
    assert "Traceback" not in err


def test_an_unknown_name_is_refused_with_the_nearest_one(capsys):
    assert ocella.main(["export", "resnet81"]) == 1
    assert "no model 'resnet81', did you mean 'resnet18'; a checkpoint must be a file" in capsys.readouterr().err


def test_a_size_that_no_row_can_have_is_refused(capsys):
    assert ocella.main(["export", "resnet18", "--size", "20000x64"]) == 1
    assert "resnet18: size_hw[0]: Input should be less than or equal to 16384 (got 20000)" in capsys.readouterr().err


def test_a_package_is_replaced_where_asked_and_an_empty_folder_always(tiny, tmp_path, capsys):
    words = ["export", "tiny", "--out", str(tmp_path / "tiny"), *QUICK]
    (tmp_path / "tiny").mkdir()
    assert ocella.main(words) == 0
    assert ocella.main(words) == 1
    assert "exists already, --replace replaces it" in capsys.readouterr().err
    assert ocella.main([*words, "--replace"]) == 0


def test_weights_of_another_model_are_refused(tmp_path, capsys):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    words = ["export", "mobilenet_v3_small", "--weights", str(tmp_path / "other.pth"), "--out", str(tmp_path / "out")]
    assert ocella.main(words) == 1
    assert "other.pth does not hold the weights of mobilenet_v3_small" in capsys.readouterr().err


def test_a_file_of_weights_that_holds_code_is_refused(tmp_path, capsys):
    torch.save(classifier_net(), tmp_path / "module.pth")
    words = ["export", "mobilenet_v3_small", "--weights", str(tmp_path / "module.pth"), "--out", str(tmp_path / "out")]
    assert ocella.main(words) == 1
    assert "module.pth must be a whole file of tensors" in capsys.readouterr().err


def test_flags_become_choices():
    chosen = command.choices_from(precision="fp16", pixels="float32", nms="graph", exporter="auto", max_batch=8)
    assert chosen == ExportChoices(precision="fp16", pixels="float32", nms_in_graph=True, max_batch=8)
