"""What a load is taken to need; the rest of loading is in ``test_lifecycle``, on real servers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ModelNotReadyError, ModelRunError
from pipelines.loader import LoadedCascade, LoadedModel, load_package
from pipelines.session import GraphSession
from serving.app import ListeningServer
from serving.memory import MIB
from tests.cascades import align_crop, make_cascade
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.servers import FaultySession, GatedSession, running_server, swap_session


async def test_a_new_version_is_taken_to_need_what_another_one_of_its_model_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    resident = [100 * MIB]

    def grow(session: GraphSession) -> GraphSession:
        resident[0] = 900 * MIB
        return session

    swap_session(monkeypatch, "classes", grow)
    monkeypatch.setattr("serving.headroom.resident_bytes", lambda: resident[0])
    make_package(tmp_path / "classes" / "1", graph=classifier_graph(seed=1), name="classes", version=1)
    async with running_server(tmp_path, memory_budget_mb=1000) as server:
        make_package(tmp_path / "classes" / "2", graph=classifier_graph(seed=2), name="classes", version=2)
        with pytest.raises(ModelNotReadyError, match="loading needs about 800 MiB of memory, the server holds 900 MiB"):
            await server.lifecycle.load("classes")
        resident[0] = 150 * MIB
        await server.lifecycle.load("classes")


async def test_both_models_of_a_cascade_run_full_batches_before_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, list[int]] = {"detector": [], "second": []}

    def counted(model: LoadedModel, sizes: list[int]) -> LoadedModel:
        def count(outputs: dict[str, Any]) -> dict[str, Any]:
            sizes.append(len(next(iter(outputs.values()))))
            return outputs

        return replace(model, session=FaultySession(model.session, count))

    def load(folder: Path, **arguments: Any) -> LoadedCascade:
        loaded = load_package(folder, **arguments)
        assert isinstance(loaded, LoadedCascade)
        detector, second = counted(loaded.detector, seen["detector"]), counted(loaded.second, seen["second"])
        return replace(loaded, detector=detector, second=second)

    monkeypatch.setattr("serving.loading.load_package", load)
    make_cascade(tmp_path / "pair" / "1", second="embedding", crop=align_crop(), name="pair")
    (tmp_path / "pair" / "deploy.toml").write_text("[batching]\nmax_size = 5\n[warmup]\nruns = 2\n")
    async with running_server(tmp_path):
        assert seen == {"detector": [5, 5], "second": [5, 5]}


def outcomes(server: ListeningServer) -> dict[str, float]:
    value = server.metrics.registry.get_sample_value
    labels = {"model": "classes", "version": "2"}
    return {
        result: value("ocella_model_loads_total", {**labels, "result": result}) or 0.0 for result in ("ok", "failed")
    }


async def test_a_warm_up_that_never_ends_is_given_up_and_one_that_fails_is_a_failed_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise ModelRunError("no memory for so many rows")

    make_package(tmp_path / "classes" / "1", graph=classifier_graph(seed=1), name="classes", version=1)
    async with running_server(tmp_path, load_timeout_s=2.0) as server:
        (tmp_path / "classes" / "deploy.toml").write_text("[warmup]\nruns = 1\n")
        make_package(tmp_path / "classes" / "2", graph=classifier_graph(seed=2), name="classes", version=2)
        swap_session(monkeypatch, "classes", lambda session: FaultySession(session, fail))
        with pytest.raises(ModelNotReadyError, match="no memory for so many rows"):
            await server.lifecycle.load("classes")
        assert outcomes(server) == {"ok": 0, "failed": 1}
        gated = swap_session(monkeypatch, "classes", GatedSession)
        with pytest.raises(ModelNotReadyError, match=r"loading must take at most 2 s, it takes longer"):
            await server.lifecycle.load("classes")
        gated[0].gate.set()
        assert outcomes(server) == {"ok": 0, "failed": 2}
        assert [(one.name, one.version) for one in server.catalog.statuses() if one.ready] == [("classes", 1)]
