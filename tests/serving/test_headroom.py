"""What a load on a card is taken to need, on real servers whose models seem to run on one.

What a load is taken to need of the machine's memory is in ``test_loading``.
"""

from pathlib import Path

import pytest

from pipelines.errors import ModelNotReadyError
from pipelines.session import CPU, CUDA, TENSORRT, GraphSession
from serving.accelerators import Cuda, TensorRt
from serving.card_memory import Card
from serving.deploy import Runtime
from serving.headroom import device_of
from serving.memory import MIB
from tests.graphs import classifier_graph
from tests.packages import make_package
from tests.serving.servers import running_server, swap_session


class FakeCard:
    """The card of a machine: how many MiB of 1,000 are free, of which each load from now on takes some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free_mb = 1_000
        self.takes_mb = 0

        def take(session: GraphSession) -> GraphSession:
            self.free_mb -= self.takes_mb
            return session

        swap_session(monkeypatch, "classes", take)
        monkeypatch.setattr("serving.headroom.device_of", lambda _: 3)
        monkeypatch.setattr("serving.headroom.card_now", self._now)

    def _now(self, device: int) -> Card:
        return Card(device, "a card", total=1_000 * MIB, free=self.free_mb * MIB, own=None)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeCard:
    return FakeCard(monkeypatch)


def put(root: Path, version: int) -> None:
    make_package(root / "classes" / str(version), graph=classifier_graph(seed=version), name="classes", version=version)


async def test_a_second_load_is_taken_to_need_what_the_first_one_took_of_the_card(tmp_path: Path, card: FakeCard):
    put(tmp_path, 1)
    card.takes_mb = 600
    async with running_server(tmp_path) as server:
        labels = {"model": "classes", "version": "1", "source": "gpu"}
        assert server.metrics.registry.get_sample_value("ocella_model_memory_bytes", labels) == 600 * MIB
        put(tmp_path, 2)
        said = r"loading needs about 600 MiB of memory on GPU 3 \(a card\), 400 of 1000 MiB are free"
        with pytest.raises(ModelNotReadyError, match=said):
            await server.lifecycle.load("classes")
        assert server.catalog.find("classes", 0).version == 1
        card.free_mb = 600
        await server.lifecycle.load("classes")
        assert server.catalog.find("classes", 0).version == 2


async def test_the_operator_knows_better_what_a_load_takes_of_the_card(tmp_path: Path, card: FakeCard):
    put(tmp_path, 1)
    async with running_server(tmp_path) as server:
        (tmp_path / "classes" / "deploy.toml").write_text(
            f'[runtime]\nproviders = ["{CUDA}", "{CPU}"]\nrequire = false\ngpu_memory_mb = 1001\n'
        )
        with pytest.raises(ModelNotReadyError, match="loading needs about 1001 MiB of memory on GPU 3"):
            await server.lifecycle.load("classes")


async def test_before_any_load_the_size_of_the_graph_is_the_least_that_a_card_must_have(tmp_path: Path, card: FakeCard):
    put(tmp_path, 1)
    async with running_server(tmp_path) as server:
        card.free_mb = 0
        make_package(tmp_path / "other" / "1", name="other")
        with pytest.raises(ModelNotReadyError, match="on GPU 3"):
            await server.lifecycle.load("other")


@pytest.mark.parametrize(
    ("available", "runtime", "device"),
    [
        ((CUDA, CPU), Runtime(providers=(CUDA, CPU), cuda=Cuda(device_id=2)), 2),
        ((CUDA, CPU), Runtime(providers=(CUDA, CPU)), 0),
        ((TENSORRT, CUDA, CPU), Runtime(providers=(TENSORRT, CUDA), tensorrt=TensorRt(device_id=1)), 1),
        ((CUDA, CPU), Runtime(providers=(TENSORRT, CUDA), cuda=Cuda(device_id=4)), 4),
        ((CPU,), Runtime(providers=(CUDA, CPU), require=False), None),
        ((CUDA, CPU), Runtime(), None),
        ((CUDA, CPU), Runtime(providers=(CPU, CUDA)), None),
    ],
)
def test_the_card_is_that_of_the_first_provider_that_this_onnxruntime_has(
    monkeypatch: pytest.MonkeyPatch, available: tuple[str, ...], runtime: Runtime, device: int | None
):
    monkeypatch.setattr("serving.headroom.available_providers", lambda: available)
    assert device_of(runtime) == device
