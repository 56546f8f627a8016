"""Sessions on CUDA: shapes, threads, page-locked memory, fallback, limits, and runs that are ended."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from pipelines.errors import ModelRunError, OcellaError, ProviderError, RunTerminatedError
from pipelines.pinned import locked_bytes
from pipelines.session import OnnxSession, RunControl
from pipelines.shaped_session import ShapedSession, open_session
from pipelines.types import AnyArray
from tests.gpu.conftest import CPU, CUDA, ON_CUDA
from tests.graphs import GraphBuilder

PATIENCE_S = 60.0


def rows(count: int, *, height: int = 64) -> AnyArray:
    return np.random.default_rng(count).normal(size=(count, 3, height, 96)).astype(np.float32)


def deep_graph(layers: int) -> onnx.ModelProto:
    """Convolutions of 64 channels, one after the other."""
    graph = GraphBuilder(0)
    value = graph.convolve(graph.pixels, (3, 64), kernel=3)
    for _ in range(layers):
        value = graph.add("Tanh", graph.convolve(value, (64, 64), kernel=3))
    graph.vector(value, (64, 4), gain=1, output="logits")
    return graph.finish([("logits", (4,))])


def test_batches_of_any_size_and_shape_answer_as_on_the_cpu(graph: Path) -> None:
    with open_session(graph, ON_CUDA) as session, OnnxSession(graph) as on_cpu:
        assert isinstance(session, ShapedSession)
        for count, height in ((1, 64), (3, 64), (9, 64), (2, 32), (1, 96), (33, 64), (3, 64)):
            batch = rows(count, height=height)
            expected, got = on_cpu.run({"image": batch}), session.run({"image": batch})
            for name, value in expected.items():
                np.testing.assert_allclose(got[name], value, rtol=1e-3, atol=1e-4)  # sums in another order


def test_concurrent_runs_do_not_swap_rows(graph: Path) -> None:
    with OnnxSession(graph) as on_cpu:
        expected = [on_cpu.run({"image": rows(count)})["heatmap"] for count in range(1, 9)]
    wrong: list[int] = []
    with open_session(graph, ON_CUDA) as session:
        assert isinstance(session, ShapedSession)

        def work(i: int) -> None:
            for _ in range(20):
                joined = session.join("image", list(rows(i + 1)[:, None]))
                got = session.run({"image": joined})["heatmap"]
                if got.shape != expected[i].shape or not np.allclose(got, expected[i], atol=1e-3):
                    wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert wrong == []


def test_page_locked_memory_is_had_and_given_back(graph: Path) -> None:
    OnnxSession(graph, ON_CUDA).close()  # brings CUDA's runtime
    block = locked_bytes(1 << 20, device=0)
    assert block is not None
    block[:] = 7
    held = weakref.ref(block.base)
    view = block[:10]
    del block
    assert view.sum() == 70
    del view
    assert held() is None


def test_a_run_whose_last_waiter_is_gone_ends_before_its_end(tmp_path: Path) -> None:
    onnx.save(deep_graph(400), tmp_path / "deep.onnx")
    batch = rows(8, height=256)
    with OnnxSession(tmp_path / "deep.onnx", ON_CUDA) as session:
        session.run({"image": batch})
        control = RunControl()
        begun = threading.Event()
        ended: list[BaseException] = []

        def work() -> None:
            begun.set()
            try:
                while True:
                    session.run({"image": batch}, control=control)
            except RunTerminatedError as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(PATIENCE_S)
        control.terminate()
        thread.join(PATIENCE_S)
        assert len(ended) == 1
        assert np.isfinite(session.run({"image": batch})["logits"]).all()  # as good as before


def test_a_device_that_is_not_there_is_refused_or_said(graph: Path) -> None:
    elsewhere = replace(ON_CUDA, provider_options={CUDA: {"device_id": "255"}})
    with pytest.raises(OcellaError):
        OnnxSession(graph, elsewhere)
    with OnnxSession(graph, replace(elsewhere, require=False)) as session:
        assert session.provider == CPU
        assert session.fallback.startswith("CUDAExecutionProvider was asked for, the session would run on CPU")


def test_a_provider_without_its_libraries_is_refused_or_said(graph: Path) -> None:
    name = "TensorrtExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {name}")
    wanted = replace(ON_CUDA, providers=(name, CUDA, CPU))
    try:
        OnnxSession(graph, wanted).close()
    except ProviderError as error:
        assert "would run on" in str(error)  # noqa: PT017, with TensorRT's libraries it starts
    with OnnxSession(graph, replace(wanted, require=False)) as session:
        assert session.provider in (name, CUDA)
        assert bool(session.fallback) == (session.provider != name)


def test_a_memory_limit_holds_and_what_fits_runs_on(graph: Path) -> None:
    limited = replace(ON_CUDA, provider_options={CUDA: {"gpu_mem_limit": str(64 << 20)}})
    with OnnxSession(graph, limited) as session:
        assert len(session.run({"image": rows(1)})["heatmap"]) == 1
        with pytest.raises(ModelRunError, match=r"(?i)memory"):
            session.run({"image": rows(64, height=2048)})
        assert len(session.run({"image": rows(1)})["heatmap"]) == 1
