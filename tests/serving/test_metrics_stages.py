"""The stages' histograms against the time that the handler took, on a model whose requests take as real ones do."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import pytest

from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from serving.vision import Vision
from tests.builders import NUM_CLASSES, classification_head, graph_input, image_spec, letterbox
from tests.packages import make_package, photo
from tests.serving.servers import PATIENCE_S, running_server

ALONE, TOGETHER, CONCURRENT = 200, 800, 16


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ResNet-18 with random weights, exported as PyTorch's own exporter does."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision").models
    image = image_spec(fit=letterbox(size_hw=(224, 224)))
    torch.manual_seed(0)
    program = torch.onnx.export(
        models.resnet18(num_classes=NUM_CLASSES).eval(),
        (torch.zeros(2, 3, 224, 224),),
        input_names=[graph_input(image).name],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    root = tmp_path_factory.mktemp("resnet")
    graph = program.model_proto
    make_package(root / "resnet" / "1", graph=graph, image=image, head=classification_head(), name="resnet")
    return root


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of each call of gRPC's handler of ``Predict``, measured around all of it."""
    seconds: list[float] = []
    handler = Vision.Predict

    async def timed(self: Vision, request: Any, context: Any) -> Any:
        start = time.monotonic()
        try:
            return await handler(self, request, context)
        finally:
            seconds.append(time.monotonic() - start)

    monkeypatch.setattr(Vision, "Predict", timed)
    return seconds


def jpeg() -> bytes:
    buffer = io.BytesIO()
    photo(size_wh=(480, 400)).resize((640, 480)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def total(server: ListeningServer, family: str, field: str) -> float:
    return sum(
        sample.value
        for metric in server.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == f"{family}_{field}"
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of itself
async def test_stages_sum_to_the_handlers_time_over_a_thousand_requests(resnet: Path, handled: list[float]):
    image = jpeg()
    room = asyncio.Semaphore(CONCURRENT)
    async with running_server(resnet) as server, AsyncVisionClient(server.grpc_address) as client:

        async def ask() -> None:
            async with room:
                await client.predict("resnet", image, timeout_s=PATIENCE_S)

        def parts() -> tuple[float, float]:
            """What the stages sum to, as a part of the handler's time and of the one that requests are said to take."""
            stages_s = total(server, "ocella_stage_duration_seconds", "sum")
            return stages_s / sum(handled), stages_s / total(server, "ocella_request_duration_seconds", "sum")

        for _ in range(ALONE):
            await ask()
        alone = parts()
        await asyncio.gather(*(ask() for _ in range(TOGETHER)))
        together = parts()
        counted = total(server, "ocella_request_duration_seconds", "count")
    assert len(handled) == counted == ALONE + TOGETHER
    assert all(0.95 <= part <= 1.0 for part in (*alone, *together)), (alone, together)
