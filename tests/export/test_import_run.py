import json
import re
import shlex
from pathlib import Path
from typing import Any

import onnx
import pytest

import ocella
from export import import_cli
from export.doctor.merge import command_line
from export.graph import graph_bytes
from pipelines.loader import load_package
from pipelines.manifest import read_manifest
from tests.export.doctor.diagnoses import at_size, diagnosis_of
from tests.export.foreign.test_ultralytics import DETECT, with_metadata
from tests.export.models import parse
from tests.graphs import classifier_graph, dfl_graph, heatmap_graph, segmenter_graph, yolo_graph
from tests.listed_graphs import box_delta_graph, faces_graph
from tests.packages import photo

NAMES = [word for i in range(10) for word in ("--label", f"name {i}")]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    photo().save(path)
    return path


def written(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_bytes(model))
    return path


def ultralytics(tmp_path: Path) -> Path:
    return written(tmp_path, with_metadata(at_size(dfl_graph(form="decoded")), **DETECT, license="MIT"))


def test_what_is_without_doubt_is_imported(tmp_path: Path, sample: Path, capsys: Any) -> None:
    out = tmp_path / "p"
    words = [str(ultralytics(tmp_path)), "--sample", str(sample), "--yes", "--out", str(out)]
    assert ocella.main(["import", *words]) == 0
    assert "without doubt: YOLOv8/v9/v11, decoded in the graph" in capsys.readouterr().err
    manifest = read_manifest(out)
    assert (manifest.labels[0], manifest.license) == ("name 0", "MIT")
    load_package(out).close()


def test_in_doubt_the_candidates_and_their_flags_are_the_error(tmp_path: Path, sample: Path, capsys: Any) -> None:
    path = written(tmp_path, at_size(yolo_graph()))
    assert ocella.main(["import", str(path), "--sample", str(sample), "--yes", "--out", str(tmp_path / "p")]) == 1
    text = capsys.readouterr().err
    assert re.search("error: in doubt between .*YOLOv3 anchor grids", text)
    assert "--decoder yolo_grid" in text
    assert "--decoder yolo_v5" in text
    assert not (tmp_path / "p").exists()


def test_elsewhere_than_on_a_terminal_nothing_is_asked(tmp_path: Path, sample: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(import_cli, "ask_on_terminal", lambda question: pytest.fail(question))
    path = written(tmp_path, at_size(yolo_graph()))
    assert ocella.main(["import", str(path), "--sample", str(sample), "--out", str(tmp_path / "p")]) == 1


def test_on_a_terminal_the_user_chooses(tmp_path: Path, sample: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(import_cli, "ask_on_terminal", lambda question: "1")
    path = written(tmp_path, at_size(yolo_graph()))
    assert ocella.main(["import", str(path), "--sample", str(sample), *NAMES, "--out", str(tmp_path / "p")]) == 0
    assert read_manifest(tmp_path / "p").head.decoder.kind == "yolo_grid"


def test_explain_makes_no_package_and_needs_no_image(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    path = written(tmp_path, at_size(heatmap_graph()))
    monkeypatch.chdir(tmp_path)
    assert ocella.main(["import", str(path), "--explain"]) == 0
    assert "centre heatmap with landmarks, yx" in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]


def test_explain_as_json_is_one_document(tmp_path: Path, sample: Path, capsys: Any) -> None:
    words = [str(ultralytics(tmp_path)), "--sample", str(sample), "--explain", "--json"]
    assert ocella.main(["import", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["certain"] == 0
    assert document["readings"][0]["head"]["decoder"] == "yolo_dfl"
    assert document["readings"][0]["proof"]["points"] is not None


def test_each_reading_is_drawn(tmp_path: Path, sample: Path, capsys: Any) -> None:
    path, folder = written(tmp_path, at_size(segmenter_graph())), tmp_path / "drawn"
    words = [str(path), "--sample", str(sample), "--explain", "--draw", str(folder)]
    assert ocella.main(["import", *words]) == 0
    assert (folder / "1-segmentation.png").read_bytes()[:4] == b"\x89PNG"
    assert f"drawn: {folder / '1-segmentation.png'}" in capsys.readouterr().out


GRAPHS = {
    "yolo_grid": (yolo_graph, NAMES),
    "yolo_dfl": (lambda: dfl_graph(form="decoded"), NAMES),
    "center_heatmap": (heatmap_graph, []),
    "box_delta": (lambda: box_delta_graph(per_cell=9, columns=10), NAMES),
    "retina_landmarks": (lambda: faces_graph(per_cell=2, columns=2), ["--label", "face"]),
    "segmentation": (segmenter_graph, []),
    "classification": (classifier_graph, NAMES),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_flags_of_a_reading_make_its_package(tmp_path: Path, sample: Path, name: str) -> None:
    build, labels = GRAPHS[name]
    given = {"label": [word for word in labels if word != "--label"] or None}
    reading = diagnosis_of(at_size(build()), tmp_path, **given).readings[0]
    flags = shlex.split(command_line(reading.proposal))
    words = [str(tmp_path / "model.onnx"), *flags, *labels, "--sample", str(sample), "--out", str(tmp_path / "p")]
    assert ocella.main(["import", *words]) == 0
    made = read_manifest(tmp_path / "p")
    assert (made.head, made.image) == (reading.manifest.head, reading.manifest.image)


def test_a_whole_detector_is_joined_and_imported(tmp_path: Path, sample: Path) -> None:
    graph = parse(
        """m (float[3,200,300] image) => (float[2,4] boxes, int64[2] labels, float[2] scores)
        <int64[2] ids = {1, 7}, float[2,4] corners = {10, 20, 110, 120, 50, 60, 90, 190}> {
          mean = ReduceMean<keepdims=0>(image)
          level = Sigmoid(mean)
          half = Mul(level, level)
          one = Shape(level)
          scores_0 = Identity(level)
          a = Unsqueeze(scores_0, axis)
          b = Unsqueeze(half, axis)
          scores = Concat<axis=0>(a, b)
          zero = Sub(mean, mean)
          boxes = Add(corners, zero)
          labels = Identity(ids)
        }""".replace("<int64[2] ids", "<int64[1] axis = {0}, int64[2] ids")
    )
    words = [str(written(tmp_path, graph)), "--sample", str(sample), "--out", str(tmp_path / "p"), "--explain"]
    assert ocella.main(["import", *words, "--json"]) == 0
    flags = ["--fit", "stretch", "--size", "200x300", "--resample", "opencv_linear", "--stats", "unit"]
    flags += ["--decoder-field", "num_classes=91"]
    words = [str(tmp_path / "model.onnx"), *flags, "--sample", str(sample), "--yes", "--out", str(tmp_path / "p")]
    assert ocella.main(["import", *words]) == 0
    with load_package(tmp_path / "p") as loaded:
        assert loaded.manifest.outputs[0].name == "detections"
        assert loaded.manifest.provenance.parity == {"rewrites": {"join_outputs": 2}}


def test_triton_settings_lie_beside_the_package(tmp_path: Path, sample: Path, capsys: Any) -> None:
    config = tmp_path / "config.pbtxt"
    config.write_text(
        'name: "Net" max_batch_size: 4 dynamic_batching { } optimization { cuda { graphs: true } }\n'
        'output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] label_filename: "names.txt" } ]'
    )
    (tmp_path / "names.txt").write_text("\n".join(f"name {i}" for i in range(10)))
    path, out = written(tmp_path, at_size(classifier_graph())), tmp_path / "root" / "net" / "1"
    words = [str(path), "--triton", str(config), "--sample", str(sample), "--out", str(out), "--activation", "softmax"]
    words += ["--fit", "stretch", "--size", "96x128", "--resample", "opencv_linear", "--stats", "imagenet"]
    assert ocella.main(["import", *words, "--task", "classification"]) == 0
    assert (out.parent / "deploy.toml").read_text() == "[batching]\nmax_size = 4\n"
    assert "no equivalent: optimization.cuda.graphs: true" in capsys.readouterr().err
    manifest = read_manifest(out)
    assert (manifest.name, manifest.labels[9]) == ("net", "name 9")


def test_a_deploy_toml_that_is_there_stays(tmp_path: Path, sample: Path, capsys: Any) -> None:
    (tmp_path / "config.pbtxt").write_text("max_batch_size: 4")
    (tmp_path / "deploy.toml").write_text("# mine\n")
    words = [str(written(tmp_path, at_size(classifier_graph()))), "--triton", str(tmp_path / "config.pbtxt")]
    words += ["--task", "classification", "--activation", "softmax", *NAMES, "--sample", str(sample)]
    words += ["--fit", "stretch", "--size", "96x128", "--resample", "opencv_linear", "--stats", "imagenet"]
    assert ocella.main(["import", *words, "--out", str(tmp_path / "1")]) == 0
    assert (tmp_path / "deploy.toml").read_text() == "# mine\n"
    assert "exists already and stays as it is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["--json"], 2, "--json has no effect without --explain"),
        (["--join", "a,b"], 2, "--join must be BOXES,SCORES,CLASSES"),
        (["--join", "a,b,c"], 1, "the graph has no output 'a'"),
        (["--golden-score", "0.1"], 2, "--golden-score needs --golden-reason"),
        (["--golden-reason", "x"], 2, "--golden-reason has no effect"),
        (["--triton", "/nowhere.pbtxt"], 1, "/nowhere.pbtxt: No such file"),
    ],
)
def test_a_flag_that_is_wrong_is_named(
    tmp_path: Path, sample: Path, capsys: Any, words: list[str], code: int, problem: str
) -> None:
    given = [str(written(tmp_path, at_size(classifier_graph()))), "--task", "classification", *NAMES]
    given += ["--activation", "softmax", "--fit", "stretch", "--size", "96x128", "--resample", "opencv_linear"]
    given += ["--stats", "imagenet", "--sample", str(sample), "--out", str(tmp_path / "p")]
    assert ocella.main(["import", *given, *words]) == code
    assert problem in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize("flag", ["task", "decoder", "fit", "resample", "color"])
def test_a_word_that_no_recipe_has_is_named_before_the_doctor_looks(
    tmp_path: Path, sample: Path, flag: str, capsys: Any
) -> None:
    words = ["import", str(ultralytics(tmp_path)), "--sample", str(sample), f"--{flag}", "other", "--yes"]
    assert ocella.main([*words, "--out", str(tmp_path / "p")]) == 2
    assert re.search(
        f"--{flag} must be one of .* got other", " ".join(capsys.readouterr().err.replace("│", "").split())
    )


def test_chosen_tolerances_are_in_the_manifest_with_their_reason(tmp_path: Path, sample: Path) -> None:
    given = [str(written(tmp_path, at_size(classifier_graph()))), "--task", "classification", *NAMES]
    given += ["--activation", "softmax", "--fit", "stretch", "--size", "96x128", "--resample", "opencv_linear"]
    given += ["--stats", "imagenet", "--sample", str(sample), "--out", str(tmp_path / "p")]
    words = ["--golden-score", "0.03", "--golden-atol", "0.01", "--golden-reason", "a steep sigmoid"]
    assert ocella.main(["import", *given, *words]) == 0
    tolerance = read_manifest(tmp_path / "p").golden.tolerance
    assert (tolerance.score, tolerance.box_iou) == (0.03, 0.98)
    raw = tolerance.raw["CPUExecutionProvider"]
    assert (raw.atol, raw.rtol) == (0.01, 1e-3)
    assert tolerance.reason.startswith("a steep sigmoid; otherwise float32 graph")


def test_segmentation_takes_its_fields_as_flags(tmp_path: Path, sample: Path) -> None:
    given = [str(written(tmp_path, at_size(segmenter_graph(num_classes=3)))), "--task", "segmentation"]
    given += ["--activation", "softmax", "--fit", "stretch", "--size", "96x128", "--resample", "opencv_linear"]
    given += ["--stats", "imagenet", "--sample", str(sample), "--out", str(tmp_path / "p")]
    given += ["--resized", "logits", "--class-threshold", "0.2", "--class-threshold", "0.3"]
    assert ocella.main(["import", *given]) == 0
    head = read_manifest(tmp_path / "p").head
    assert (head.resized, head.class_thresholds) == ("logits", (0.2, 0.3))
