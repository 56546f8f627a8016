"""Sessions: what runs, on what, and errors in words."""

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import pipelines.session as session_module
from pipelines.errors import GraphMismatchError, ModelRunError, ProviderError
from pipelines.session import OnnxSession, SessionOptions, run_bound, run_one, split_rows
from tests.builders import f32
from tests.graphs import classifier_graph, heatmap_graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(heatmap_graph(), path)
    return path


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 32, 48)).astype(np.float32)


def test_a_session_tells_its_tensors_and_its_provider(graph: Path) -> None:
    with OnnxSession(graph) as session:
        assert (session.inputs[0].name, session.inputs[0].dtype) == ("image", "float32")
        assert session.inputs[0].shape == ("batch", 3, "height", "width")
        assert [spec.name for spec in session.outputs] == ["heatmap", "size", "offset", "landmarks"]
        assert session.provider == "CPUExecutionProvider"


def test_only_the_outputs_that_were_asked_for_are_returned(graph: Path) -> None:
    with OnnxSession(graph, outputs=("size",)) as session:
        assert list(session.run({"image": rows(1)})) == ["size"]


def test_an_unknown_output_is_named(graph: Path) -> None:
    with pytest.raises(GraphMismatchError, match="no output 'nose'"):
        OnnxSession(graph, outputs=("nose",))


def test_one_row_is_run_without_its_batch_axis(graph: Path) -> None:
    with OnnxSession(graph) as session:
        row = rows(1)[0]
        alone = run_one(session, row)
        batch = session.run({"image": row[None]})
    for name, value in alone.items():
        np.testing.assert_array_equal(value, batch[name][0])


def test_concurrent_runs_on_one_session_do_not_mix(graph: Path) -> None:
    with OnnxSession(graph) as session:
        inputs = [rows(1 + i) for i in range(6)]
        expected = [session.run({"image": batch})["heatmap"] for batch in inputs]
        got: dict[int, np.ndarray] = {}

        def work(i: int) -> None:
            for _ in range(20):
                got[i] = session.run({"image": inputs[i]})["heatmap"]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, value in enumerate(expected):
        np.testing.assert_array_equal(got[i], value)


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        pytest.param({"image": f32([[1]])}, "refused or failed the run", id="wrong rank"),
        pytest.param({"picture": rows(1)}, "refused or failed the run", id="wrong name"),
        pytest.param({"image": rows(1).astype(np.float64)}, "refused or failed the run", id="wrong dtype"),
    ],
)
def test_a_run_that_fails_says_why_in_one_line(graph: Path, feeds: dict[str, np.ndarray], words: str) -> None:
    with OnnxSession(graph) as session:
        with pytest.raises(ModelRunError, match=words) as caught:
            session.run(feeds)
        assert "\n" not in str(caught.value)
        assert session.run({"image": rows(1)})["heatmap"].shape == (1, 1, 8, 12)


def test_a_closed_session_says_so(graph: Path) -> None:
    session = OnnxSession(graph)
    session.close()
    with pytest.raises(ModelRunError, match="the session is closed"):
        session.run({"image": rows(1)})


def test_another_row_count_is_an_error() -> None:
    with pytest.raises(ModelRunError, match=r"output 'a' must have 2 rows, got shape \(3, 1\)"):
        split_rows({"a": np.zeros((3, 1))}, expected_rows=2)
    with pytest.raises(ModelRunError, match=r"output 'a' must have 1 rows, got shape \(\)"):
        split_rows({"a": np.float32(3) * np.ones(())}, expected_rows=1)


@pytest.mark.parametrize("data", [pytest.param(b"", id="empty"), pytest.param(b"\x08\x07 garbage", id="garbage")])
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(GraphMismatchError, match="does not load"):
        OnnxSession(tmp_path / "model.onnx")


def test_a_provider_that_is_not_installed_is_refused(graph: Path) -> None:
    with pytest.raises(ProviderError, match="NoSuchExecutionProvider is not in this onnxruntime"):
        OnnxSession(graph, SessionOptions(providers=("NoSuchExecutionProvider",)))


def test_a_provider_that_onnxruntime_leaves_out_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU build lists CUDA on a machine without a GPU, and falls back to the CPU without an error."""
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("pipelines.session.ort.get_available_providers", lambda: names)
    with pytest.raises(ProviderError), pytest.warns(UserWarning, match="not in available provider"):
        OnnxSession(graph, SessionOptions(providers=tuple(names)))


def test_a_classifier_answers_the_same_twice(tmp_path: Path) -> None:
    onnx.save(classifier_graph(), tmp_path / "model.onnx")
    with OnnxSession(tmp_path / "model.onnx") as session:
        batch = rows(3)
        np.testing.assert_array_equal(session.run({"image": batch})["logits"], session.run({"image": batch})["logits"])


def test_a_missing_onnxruntime_is_one_sentence() -> None:
    code = "import sys; sys.modules['onnxruntime'] = None; import ocella; sys.exit(ocella.main(['verify', 'x']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: running a model needs onnxruntime: pip install 'ocella[cpu]' or 'ocella[gpu]'\n"


# --- providers: onnxruntime's own answers are played; what a GPU answers is tested in tests/gpu ----------------------

CUDA, CPU_ONLY = "CUDAExecutionProvider", "CPUExecutionProvider"


def test_a_provider_that_is_missing_is_refused_where_it_is_required(graph: Path) -> None:
    with pytest.raises(ProviderError, match="CUDAExecutionProvider is not in this onnxruntime, it has"):
        OnnxSession(graph, SessionOptions(providers=(CUDA, CPU_ONLY)))


def test_a_fallback_that_is_allowed_says_why(graph: Path) -> None:
    with OnnxSession(graph, SessionOptions(providers=(CUDA, CPU_ONLY), require=False)) as session:
        assert session.provider == CPU_ONLY
        assert session.fallback.startswith("CUDAExecutionProvider was asked for, the session would run on CPU")
        assert "this onnxruntime has" in session.fallback


def test_what_runs_as_asked_is_no_fallback(graph: Path) -> None:
    with OnnxSession(graph) as session:
        assert session.fallback == ""


def test_a_provider_that_starts_nothing_is_seen_whatever_is_listed(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU build lists CUDA without a driver, and creates a session on the CPU."""
    asked: list[list[tuple[str, dict[str, str]]]] = []
    create = session_module.ort.InferenceSession

    def on_the_cpu(path: str, settings: object, *, providers: list[tuple[str, dict[str, str]]]) -> object:
        asked.append(providers)
        return create(path, settings, providers=[CPU_ONLY])

    monkeypatch.setattr(session_module.ort, "get_available_providers", lambda: [CUDA, CPU_ONLY])
    monkeypatch.setattr(session_module.ort, "InferenceSession", on_the_cpu)
    monkeypatch.setattr(session_module.ort, "preload_dlls", lambda: None, raising=False)
    options = SessionOptions(providers=(CUDA, CPU_ONLY), provider_options={CUDA: {"device_id": "1"}})
    with pytest.raises(ProviderError, match="the driver or its libraries are missing"):
        OnnxSession(graph, options)
    with OnnxSession(graph, replace(options, require=False)) as session:
        assert session.fallback.endswith("the driver or its libraries are missing")
    exact = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    assert asked[0] == [(CUDA, {**exact, "device_id": "1"}), (CPU_ONLY, {})]


def test_a_bound_run_answers_as_a_plain_one(graph: Path) -> None:
    """What CUDA and TensorRT sessions do, on the CPU."""
    inference = session_module.ort.InferenceSession(str(graph), providers=[CPU_ONLY])
    batch = rows(2)[:, :, ::-1]  # not contiguous
    expected = inference.run(["size", "heatmap"], {"image": batch})
    got = run_bound(inference, ["size", "heatmap"], {"image": batch}, None)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)
