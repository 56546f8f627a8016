"""What a load is taken to need; the rest of loading is in ``test_lifecycle``, on real servers."""

from pathlib import Path

import pytest

from pipelines.errors import ModelNotReadyError
from pipelines.session import GraphSession
from serving.memory import MIB
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.servers import running_server, swap_session


async def test_a_new_version_is_taken_to_need_what_another_one_of_its_model_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    resident = [100 * MIB]

    def grow(session: GraphSession) -> GraphSession:
        resident[0] = 900 * MIB
        return session

    swap_session(monkeypatch, "classes", grow)
    monkeypatch.setattr("serving.loading.resident_bytes", lambda: resident[0])
    make_package(tmp_path / "classes" / "1", graph=classifier_graph(seed=1), name="classes", version=1)
    async with running_server(tmp_path, memory_budget_mb=1000) as server:
        make_package(tmp_path / "classes" / "2", graph=classifier_graph(seed=2), name="classes", version=2)
        with pytest.raises(ModelNotReadyError, match="loading needs about 800 MiB of memory, the server holds 900 MiB"):
            await server.lifecycle.load("classes")
        resident[0] = 150 * MIB
        await server.lifecycle.load("classes")
