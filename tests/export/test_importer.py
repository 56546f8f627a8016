from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from export.graph import graph_bytes
from export.importer import ImportRecipe, import_model
from pipelines.errors import (
    GraphMismatchError,
    ImageDecodeError,
    ImageTooLargeError,
    ModelOutputError,
    PackageError,
    RecipeError,
)
from pipelines.loader import load_package
from pipelines.manifest import read_manifest
from tests.builders import classification_head, detection_head, image_spec, labels_of
from tests.export.models import parse
from tests.graphs import broken_batch_graph, classifier_graph, heatmap_graph
from tests.packages import photo, png


def recipe(**over: Any) -> ImportRecipe:
    head = over.get("head", classification_head())
    fields: dict[str, Any] = {
        "name": "mine",
        "version": 1,
        "description": "",
        "license": "MIT",
        "source": "tests",
        "image": image_spec(),
        "head": head,
        "labels": labels_of(head),
        "metrics": {},
        "dynamic_batch": False,
    }
    return ImportRecipe(**(fields | over))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.onnx"
    path.write_bytes(graph_bytes(classifier_graph()))
    return path


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    photo().save(path, quality=95)
    return path


def written(tmp_path: Path, model: Any) -> Path:
    path = tmp_path / "other.onnx"
    path.write_bytes(graph_bytes(model))
    return path


def test_an_imported_package_loads_with_every_check(tmp_path: Path, graph: Path, sample: Path) -> None:
    import_model(graph, recipe(), samples=[sample], out=tmp_path / "p")
    with load_package(tmp_path / "p") as model:
        assert model.manifest.golden.reference == "onnxruntime"
        assert model.golden is not None
        assert model.golden.compared > 0
        assert "stability, not correctness" in model.golden.meaning


def test_the_graph_keeps_its_bytes(tmp_path: Path, graph: Path, sample: Path) -> None:
    import_model(graph, recipe(), samples=[sample], out=tmp_path / "p")
    assert (tmp_path / "p" / "model.onnx").read_bytes() == graph.read_bytes()


def test_the_batch_proof_is_in_the_manifest(tmp_path: Path, graph: Path, sample: Path) -> None:
    manifest = import_model(graph, recipe(), samples=[sample], out=tmp_path / "p")
    assert manifest.provenance.parity is not None
    assert manifest.provenance.parity["batch_against_single"]["rows"] == 4


def test_samples_become_png_of_the_decoded_pixels(tmp_path: Path, graph: Path, sample: Path) -> None:
    import_model(graph, recipe(), samples=[sample, sample], out=tmp_path / "p")
    kept = np.asarray(Image.open(tmp_path / "p" / "golden" / "sample-1.png"))
    assert kept.shape == (200, 300, 3)
    assert np.abs(kept.astype(int) - np.asarray(photo())).mean() < 8  # what JPEG at quality 95 loses


def test_detections_are_also_recorded_at_a_low_threshold(tmp_path: Path, sample: Path) -> None:
    made = recipe(head=detection_head(score_threshold=0.9))
    manifest = import_model(written(tmp_path, heatmap_graph()), made, samples=[sample], out=tmp_path / "p")
    assert [options.score_threshold for options in manifest.golden.options] == [None, 0.05]


def test_a_fixed_batch_can_be_freed(tmp_path: Path, sample: Path) -> None:
    fixed = classifier_graph()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    path = written(tmp_path, fixed)
    with pytest.raises(GraphMismatchError, match="dynamic batch, or one of 1, it has 2: --dynamic-batch frees it"):
        import_model(path, recipe(), samples=[sample], out=tmp_path / "p")
    manifest = import_model(path, recipe(dynamic_batch=True), samples=[sample], out=tmp_path / "p")
    assert manifest.inputs[0].shape[0] == "batch"
    assert manifest.provenance.parity is not None
    assert manifest.provenance.parity["rewrites"] == {"dynamic_batch": 1}


def test_a_batch_of_one_needs_no_proof(tmp_path: Path, sample: Path) -> None:
    fixed = classifier_graph()
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    manifest = import_model(written(tmp_path, fixed), recipe(), samples=[sample], out=tmp_path / "p")
    assert manifest.provenance.parity is None


def test_a_float16_graph_gets_float16_tolerances(tmp_path: Path, sample: Path) -> None:
    graph = classifier_graph(dtype="float16")
    graph.graph.initializer.add(name="half", data_type=10, dims=[1], raw_data=b"\0\0")
    made = recipe(image=image_spec(dtype="float16"))
    manifest = import_model(written(tmp_path, graph), made, samples=[sample], out=tmp_path / "p")
    assert manifest.golden.tolerance.raw["CPUExecutionProvider"].rtol == 2e-2
    assert "float16" in manifest.golden.tolerance.reason


def test_a_graph_whose_rows_see_each_other_is_refused(tmp_path: Path, sample: Path) -> None:
    with pytest.raises(RecipeError, match=r"output 'logits' of row 0 differs by .* alone and in a batch of 4"):
        import_model(written(tmp_path, broken_batch_graph()), recipe(), samples=[sample], out=tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "m (string[N] image) => (string[N] logits) { logits = Identity(image) }",
            "'image' must hold pixels .* strings",
        ),
        (
            "m (float[N,1,96,128] x) => (float[N,1,96,128] logits) { logits = Relu(x) }",
            r"takes \['N', 1, 96, 128\], the recipe makes a chw row of \[3, 96, 128\]",
        ),
        ("m (float[N,96,128,3] x) => (float[N,96,128,3] logits) { logits = Relu(x) }", "check fit, layout and color"),
        ("m (float[N,3,64,64] x) => (float[N,3,64,64] logits) { logits = Relu(x) }", "check fit, layout and color"),
        ("m (float[N] x) => (float[N] logits) { logits = Relu(x) }", "check fit, layout and color"),
        ("m (uint8[N,3,96,128] x) => (uint8[N,3,96,128] logits) { logits = Identity(x) }", "must be float32 .* uint8"),
        ("m (float[N,3,96,128] x) => (float[N,3,96,128] y) { y = Relu(x) }", r"reads output 'logits', .* has \['y'\]"),
    ],
)
def test_a_graph_that_does_not_fit_the_recipe_is_refused(tmp_path: Path, sample: Path, body: str, problem: str) -> None:
    with pytest.raises(GraphMismatchError, match=problem):
        import_model(written(tmp_path, parse(body)), recipe(), samples=[sample], out=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_labels_that_do_not_fit_the_output_are_refused(tmp_path: Path, graph: Path, sample: Path) -> None:
    with pytest.raises(ModelOutputError, match="labels"):
        import_model(graph, recipe(labels=("cat", "dog")), samples=[sample], out=tmp_path / "p")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["graph.onnx", "photo.jpg"]


@pytest.mark.parametrize("count", [0, 5])
def test_one_to_four_samples_are_needed(tmp_path: Path, graph: Path, sample: Path, count: int) -> None:
    with pytest.raises(RecipeError, match=f"1 to 4 sample images, got {count}"):
        import_model(graph, recipe(), samples=[sample] * count, out=tmp_path / "p")


def test_a_sample_that_is_missing_is_named(tmp_path: Path, graph: Path) -> None:
    with pytest.raises(RecipeError, match=r"nothing.jpg cannot be read: No such file"):
        import_model(graph, recipe(), samples=[tmp_path / "nothing.jpg"], out=tmp_path / "p")


def test_a_sample_that_is_no_image_is_refused(tmp_path: Path, graph: Path) -> None:
    (tmp_path / "text.png").write_bytes(png(photo())[:100])
    with pytest.raises(ImageDecodeError):
        import_model(graph, recipe(), samples=[tmp_path / "text.png"], out=tmp_path / "p")


def test_an_existing_folder_is_not_touched(tmp_path: Path, graph: Path, sample: Path) -> None:
    import_model(graph, recipe(), samples=[sample], out=tmp_path / "p")
    with pytest.raises(PackageError, match="exists already"):
        import_model(graph, recipe(version=2), samples=[sample], out=tmp_path / "p")
    assert read_manifest(tmp_path / "p").version == 1


def test_of_a_sample_without_an_end_little_is_read(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageTooLargeError, match=r"sample /dev/zero: image has 67,108,865 bytes, the limit is"):
        import_model(graph, recipe(), samples=[Path("/dev/zero")], out=tmp_path / "p")
