"""Tests that run on a CUDA device, and say why they do not where there is none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import onnx
import onnxruntime
import pytest

from pipelines.errors import OcellaError
from pipelines.manifest import RawTolerance
from pipelines.session import OnnxSession, SessionOptions
from tests.builders import classification_head, detection_head, embedding_head, golden_tolerance, segmentation_head
from tests.graphs import classifier_graph, embedder_graph, heatmap_graph, segmenter_graph
from tests.packages import make_package, photo, png

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ON_CUDA = SessionOptions(providers=(CUDA, CPU))
DEPLOY = f'[runtime]\nproviders = ["{CUDA}", "{CPU}"]\n'
# float32 on a GPU sums in another order: measured on one H100 up to 1e-5 of values of about 10.
TOLERANCE = golden_tolerance(raw=dict.fromkeys((CPU, CUDA), RawTolerance(rtol=1e-3, atol=1e-4)), score=1e-3)
MODELS = {
    "classes": (classifier_graph, classification_head),
    "things": (heatmap_graph, detection_head),
    "masks": (segmenter_graph, segmentation_head),
    "vectors": (embedder_graph, embedding_head),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder's tests."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")


@cache
def why_not(folder: Path) -> str:
    """Why nothing runs on CUDA here; empty where it does."""
    if CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime has no CUDAExecutionProvider: pip install 'ocella[gpu]'"
    onnx.save(classifier_graph(), folder / "probe.onnx")
    try:
        OnnxSession(folder / "probe.onnx", ON_CUDA).close()
    except OcellaError as error:
        return f"no session starts on a CUDA device: {error}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def cuda(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip all tests of this folder where there is no CUDA device."""
    if reason := why_not(tmp_path_factory.getbasetemp()):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packages of each task that may run on CUDA, by model; their repository serves them there."""
    root = tmp_path_factory.mktemp("cuda")
    for name, (graph, head) in MODELS.items():
        make_package(root / name / "1", graph=graph(), head=head(), name=name, tolerance=TOLERANCE)
        (root / name / "deploy.toml").write_text(DEPLOY)
    return {name: root / name / "1" for name in MODELS}


@pytest.fixture(scope="session")
def repository(folders: dict[str, Path]) -> Path:
    return folders["classes"].parent.parent


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    sizes = ((300, 200), (64, 80), (161, 97), (320, 240))
    return [png(photo(name, size_wh=size)) for name in ("astronaut", "chelsea", "coffee") for size in sizes]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A graph of a few convolutions, in a file."""
    onnx.save(heatmap_graph(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"
