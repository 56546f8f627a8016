"""Loading a package: each check refuses by its own name, and a good package answers."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pipelines.errors import (
    ChecksumError,
    GoldenMismatchError,
    GraphMismatchError,
    ManifestError,
    PackageError,
    ProviderError,
    SealError,
)
from pipelines.loader import find_package, load_package, sha256_of
from pipelines.manifest import GoldenOptions
from pipelines.session import SessionOptions
from pipelines.tasks import predict
from pipelines.types import Classification
from tests.builders import detection_head, golden_tolerance
from tests.graphs import broken_batch_graph, classifier_graph, embedder_graph, heatmap_graph
from tests.packages import edit_manifest, make_package, photo, png


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("root") / "tiny" / "1")


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package, tmp_path / "tiny" / "1"))


def test_a_good_package_answers_and_reports_its_replay(package: Path) -> None:
    with load_package(package) as model:
        assert model.golden is not None
        assert (model.golden.pixel_levels, model.golden.compared) == (0, 5)
        assert "stability, not correctness" in model.golden.meaning
        (result,) = predict(model.pipeline, model.session, [np.asarray(photo())])
    assert isinstance(result, Classification)
    assert len(result) == 5


def test_a_replay_can_be_left_out(package: Path) -> None:
    with load_package(package, replay_golden=False) as model:
        assert model.golden is None


def test_a_package_is_found_from_the_folders_above_it(package: Path) -> None:
    assert find_package(package) == find_package(package.parent) == find_package(package.parent.parent) == package


def test_two_packages_are_not_guessed_between(copy: Path) -> None:
    shutil.copytree(copy, copy.parent / "2")
    with pytest.raises(PackageError, match=r"exactly one, it holds 2 \(1, 2\)"):
        load_package(copy.parent)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        pytest.param("nowhere", "there is none", id="missing"),
        pytest.param("file", "it is a file", id="a file"),
        pytest.param("empty", r"it holds 0 \(none\)", id="an empty folder"),
    ],
)
def test_a_place_without_a_package_is_named(tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(PackageError, match=words):
        load_package(tmp_path / place)


def drop(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def append(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"\0")


def link(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        outside = folder.parent / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return change


def edit(change: Callable[[dict[str, Any]], object], *, reseal: bool = True) -> Callable[[Path], object]:
    return lambda folder: edit_manifest(folder, change, reseal=reseal)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        pytest.param(drop("model.onnx"), ChecksumError, "model.onnx is missing", id="no graph"),
        pytest.param(drop("golden/sample-0.png"), ChecksumError, "golden/sample-0.png is missing", id="no sample"),
        pytest.param(link("manifest.json"), ChecksumError, "manifest.json must be a file of", id="linked manifest"),
        pytest.param(drop("manifest.json"), PackageError, "it holds 0", id="no manifest"),
        pytest.param(append("model.onnx"), ChecksumError, "model.onnx has SHA-256", id="changed graph"),
        pytest.param(append("golden/sample-0.npz"), ChecksumError, "sample-0.npz has SHA-256", id="changed record"),
        pytest.param(link("model.onnx"), ChecksumError, "it is a link", id="graph is a link"),
        pytest.param(
            lambda folder: (folder / "extra.bin").touch(), ChecksumError, "extra.bin is not listed", id="an added file"
        ),
        pytest.param(
            edit(lambda raw: raw["files"].pop("model.onnx")), ChecksumError, "must list model.onnx", id="unlisted graph"
        ),
        pytest.param(
            edit(lambda raw: raw["files"].update({"../up": "0" * 64})), ChecksumError, "not a plain path", id="path up"
        ),
        pytest.param(
            edit(lambda raw: raw["image"].update(color="bgr"), reseal=False), SealError, "recipe changed", id="edited"
        ),
        pytest.param(
            edit(lambda raw: raw["image"].update(colour="bgr")), ManifestError, "image.colour", id="unknown key"
        ),
        pytest.param(
            edit(lambda raw: raw["inputs"][0].update(name="x")), GraphMismatchError, "graph inputs are", id="input name"
        ),
        pytest.param(
            edit(lambda raw: raw["inputs"][0].update(shape=["n", 3, 96, "w"])),
            GraphMismatchError,
            "graph input image is float32",
            id="input shape",
        ),
        pytest.param(
            edit(lambda raw: raw["outputs"].append({"name": "x", "dtype": "float32", "shape": [1]})),
            GraphMismatchError,
            "graph outputs are",
            id="output count",
        ),
        pytest.param(
            edit(lambda raw: raw["golden"]["tolerance"].update(raw={})),
            PackageError,
            "golden.tolerance.raw must name CPUExecutionProvider",
            id="no tolerance for the provider",
        ),
    ],
)
def test_a_broken_package_is_refused_by_name(
    copy: Path, change: Callable[[Path], object], error: type[PackageError], words: str
) -> None:
    change(copy)
    with pytest.raises(error) as caught:
        load_package(copy)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "golden/sample-0.npz", "manifest.json"])
def test_a_file_that_may_not_be_read_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The user of these tests may be root, whom no mode stops; so the system's refusal is played."""
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path == copy / name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PackageError, match=f"{name} cannot be read: Permission denied"):
        load_package(copy)


def fit_checksum(folder: Path, name: str) -> None:
    edit_manifest(folder, lambda raw: raw["files"].update({name: sha256_of(folder / name)}), reseal=True)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "does not load", id="empty"),
        pytest.param(b"not a graph", "does not load", id="text"),
        pytest.param(embedder_graph().SerializeToString(), "graph has no output 'logits'", id="another graph"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused(copy: Path, data: bytes, words: str) -> None:
    (copy / "model.onnx").write_bytes(data)
    fit_checksum(copy, "model.onnx")
    with pytest.raises(GraphMismatchError, match=words):
        load_package(copy)


def test_a_record_that_is_no_archive_is_refused(copy: Path) -> None:
    (copy / "golden/sample-0.npz").write_bytes(b"PK\x03\x04 nothing")
    fit_checksum(copy, "golden/sample-0.npz")
    with pytest.raises(PackageError, match="is not a golden record"):
        load_package(copy)


def test_a_pickle_in_a_record_is_never_opened(copy: Path) -> None:
    with (copy / "golden/sample-0.npz").open("wb") as file:
        np.savez(file, row_index=np.array([{}], dtype=object), row_values=np.zeros(1))
    fit_checksum(copy, "golden/sample-0.npz")
    with pytest.raises(PackageError, match="is not a golden record: Object arrays cannot be loaded"):
        load_package(copy)


def test_a_graph_whose_rows_see_each_other_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GoldenMismatchError, match=r"as a batch of \d, row 1 against itself alone: raw outputs differ"):
        make_package(tmp_path / "tiny", graph=broken_batch_graph())


def test_a_graph_of_fixed_batch_one_loads(tmp_path: Path) -> None:
    graph = classifier_graph()
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    with load_package(make_package(tmp_path / "tiny", graph=graph)) as model:
        assert model.manifest.inputs[0].shape[0] == 1
        assert model.golden
        assert model.golden.identical_rows == 0  # no batch could be compared


def test_a_golden_set_without_a_single_decoded_value_is_refused(tmp_path: Path) -> None:
    head = detection_head(score_threshold=1.0)
    with pytest.raises(GoldenMismatchError, match="got 0 and 0"):
        make_package(tmp_path / "tiny", graph=heatmap_graph(), head=head)


def test_a_tolerance_that_swallows_most_results_is_refused(tmp_path: Path) -> None:
    """Every score lies within 0.9 of the threshold; another sample's record shares no box with this one."""
    package = make_package(
        tmp_path / "tiny",
        graph=heatmap_graph(),
        head=detection_head(score_threshold=0.8),
        samples=[png(photo("astronaut")), png(photo("coffee"))],
        options=(GoldenOptions(score_threshold=None, iou_threshold=None),),
        tolerance=golden_tolerance(score=0.9),
    )
    first, second = (dict(np.load(package / f"golden/sample-{i}.npz")) for i in (0, 1))
    mixed = {key: second[key] if key.startswith("decoded") else value for key, value in first.items()}
    np.savez(package / "golden/sample-0.npz", **mixed)
    fit_checksum(package, "golden/sample-0.npz")
    edit_manifest(package, lambda raw: raw["golden"]["samples"].pop(), reseal=True)
    with pytest.raises(GoldenMismatchError, match="more decoded results than near-ties"):
        load_package(package)


def test_a_provider_that_is_not_there_is_refused(package: Path) -> None:
    with pytest.raises(ProviderError, match="is not in this onnxruntime"):
        load_package(package, options=SessionOptions(providers=("NoSuchExecutionProvider",)))


@pytest.mark.parametrize("location", ["../weights.bin", "{parent}/weights.bin", "weights.bin"])
def test_weights_outside_the_package_are_refused(copy: Path, location: str) -> None:
    """Onnxruntime 1.23 reads the first two; the last lies nowhere."""
    model = classifier_graph()
    onnx.save(model, copy.parent / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(copy.parent / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = location.format(parent=copy.parent)
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    fit_checksum(copy, "model.onnx")
    with pytest.raises(GraphMismatchError, match="must keep its weights in files that the manifest lists, it names"):
        load_package(copy)


def test_weights_in_a_file_of_the_package_are_read(copy: Path) -> None:
    onnx.save(
        classifier_graph(), copy / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    edit_manifest(copy, lambda raw: raw["files"].update({"weights.bin": sha256_of(copy / "weights.bin")}), reseal=False)
    fit_checksum(copy, "model.onnx")
    with load_package(copy) as loaded:
        assert loaded.golden is not None


def test_a_graph_with_operators_of_its_own_is_refused(copy: Path) -> None:
    model = classifier_graph()
    model.graph.node[0].domain = "somebody.else"
    model.opset_import.add(domain="somebody.else", version=1)
    (copy / "model.onnx").write_bytes(model.SerializeToString())
    fit_checksum(copy, "model.onnx")
    with pytest.raises(GraphMismatchError, match=r"somebody\.else.* is not a registered function/op"):
        load_package(copy)
