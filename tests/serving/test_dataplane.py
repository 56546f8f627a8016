import asyncio
import contextlib
import dataclasses
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    ImageDecodeError,
    ImageTooLargeError,
    InvalidRequestError,
    ModelOutputError,
    ModelRunError,
    OverloadedError,
    UnknownModelError,
)
from pipelines.image import ImageLimits
from pipelines.loader import load_package
from pipelines.options import PredictOptions
from pipelines.session import Session
from pipelines.types import AnyArray, identical
from serving import image_work
from serving.admission import Claim
from serving.app import ListeningServer
from serving.catalog import Catalog
from serving.dataplane import Answer, DataPlane, PredictCall
from serving.deploy import Batching, Deploy, Runtime
from serving.image_group import WaitingImages
from serving.metrics import STAGES, Metrics
from serving.served import ServedModel
from serving.threads import Threads
from tests.serving.servers import PATIENCE_S, FaultySession, GatedSession, Offline

MODELS = ("classes", "things", "masks", "vectors")


@dataclasses.dataclass
class Parts:
    """A data plane over one model, with what tests look at."""

    plane: DataPlane
    catalog: Catalog
    metrics: Metrics
    session: Session


@asynccontextmanager
async def plane_over(package: Path, *, gated: bool = False, deploy: Deploy = Deploy(), limits=ImageLimits()):  # noqa: B008, frozen
    """A data plane over one package; ``gated``: its session waits for its gate."""
    catalog, metrics = Catalog(), Metrics()
    loaded = load_package(package)
    session = GatedSession(loaded.session) if gated else loaded.session
    loaded = dataclasses.replace(loaded, session=session)
    with (
        contextlib.closing(Threads(2, name="pixels")) as pixels,
        ServedModel(loaded, deploy, metrics.model("classes", 1), cores=1) as served,
    ):
        catalog.put_ready(served)
        catalog.settle()
        try:
            yield Parts(DataPlane(catalog, pixels, limits), catalog, metrics, session)
        finally:
            if gated:
                session.gate.set()


def whole(answer: Answer) -> Answer:
    return answer


def call_for(image: bytes, model: str = "classes", **over: object) -> PredictCall:
    return PredictCall(model=model, image=image, **over)


@pytest.mark.parametrize("model", MODELS)
async def test_an_answer_equals_the_offline_one_to_the_bit(
    server: ListeningServer, offline: Offline, photos: list[bytes], model: str
):
    for image in photos:
        answer = await server.plane.predict(call_for(image, model), whole)
        assert identical(answer.result, offline(model, image))


async def test_options_act_as_they_do_offline(server: ListeningServer, offline: Offline, photos: list[bytes]):
    options = PredictOptions(score_threshold=0.7, iou_threshold=0.9, max_detections=3)
    answer = await server.plane.predict(call_for(photos[0], "things", options=options), whole)
    assert identical(answer.result, offline("things", photos[0], options))
    assert len(answer.result) == 3


async def test_an_answer_says_who_gave_it_and_the_size_of_the_image(server: ListeningServer, photos: list[bytes]):
    answer = await server.plane.predict(call_for(photos[0]), whole)
    assert (answer.model, answer.version, answer.image_hw) == ("classes", 1, (200, 300))


async def test_the_stages_of_an_answer_are_its_whole_time(server: ListeningServer, photos: list[bytes]):
    start = time.monotonic()
    answer = await server.plane.predict(call_for(photos[0]), whole)
    elapsed = time.monotonic() - start
    stages = dataclasses.asdict(answer.timings)
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) <= elapsed


async def test_each_answer_is_observed_once_in_every_stage(folders: dict[str, Path], photos: list[bytes]):
    async with plane_over(folders["classes"]) as parts:
        await asyncio.gather(*(parts.plane.predict(call_for(image), whole) for image in photos))
        labels = {"model": "classes", "version": "1"}
        counts = [
            parts.metrics.registry.get_sample_value("ocella_stage_duration_seconds_count", {**labels, "stage": stage})
            for stage in STAGES
        ]
        assert counts == [len(photos)] * len(STAGES)
        assert parts.metrics.registry.get_sample_value("ocella_images_total", labels) == len(photos)
        assert parts.metrics.registry.get_sample_value("ocella_batch_size_images_sum", labels) == len(photos)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (call_for(b"", model="cats"), UnknownModelError),
        (call_for(b"", version=2), UnknownModelError),
        (call_for(b"", version=-1), UnknownModelError),
        (call_for(b"", options=PredictOptions(score_threshold=0.5)), InvalidRequestError),
        (call_for(b""), ImageDecodeError),
        (call_for(b"not an image"), ImageDecodeError),
        (call_for(b"", deadline=0), DeadlineExceededError),
    ],
    ids=["model", "version", "negative version", "option", "empty image", "no image", "deadline"],
)
async def test_a_bad_call_is_one_clear_error_and_leaves_nothing_inside(
    server: ListeningServer, call: PredictCall, error: type[Exception]
):
    with pytest.raises(error):
        await server.plane.predict(call, whole)
    async with asyncio.timeout(PATIENCE_S):
        await server.plane.wait_empty()


async def test_limits_of_the_server_hold(folders: dict[str, Path], photos: list[bytes]):
    async with plane_over(folders["classes"], limits=ImageLimits(max_pixels=60_000 - 1)) as parts:
        with pytest.raises(ImageTooLargeError, match="60,000 pixels, the limit is 59,999"):
            await parts.plane.predict(call_for(photos[0]), whole)


async def test_an_overloaded_model_refuses_at_once_and_answers_the_others(
    folders: dict[str, Path], photos: list[bytes], offline: Offline
):
    deploy = Deploy(batching=Batching(max_size=2, max_queue=1), runtime=Runtime(instances=1))
    async with plane_over(folders["classes"], gated=True, deploy=deploy) as parts:
        inside = [asyncio.create_task(parts.plane.predict(call_for(photos[i]), whole)) for i in range(3)]
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        with pytest.raises(OverloadedError, match="at most 3 requests may be inside"):
            await parts.plane.predict(call_for(photos[3]), whole)
        parts.session.gate.set()
        for image, answer in zip(photos, await asyncio.gather(*inside), strict=False):
            np.testing.assert_allclose(answer.result.scores, offline("classes", image).scores, atol=1e-6)


async def test_a_deadline_ends_the_wait_for_a_run_that_hangs(folders: dict[str, Path], photos: list[bytes]):
    async with plane_over(folders["classes"], gated=True) as parts:
        call = call_for(photos[0], deadline=time.monotonic() + 0.05)
        with pytest.raises(DeadlineExceededError, match="before the answer was ready"):
            await parts.plane.predict(call, whole)
        await parts.plane.wait_empty()


async def test_expired_requests_are_never_run(folders: dict[str, Path], photos: list[bytes]):
    deploy = Deploy(runtime=Runtime(instances=1))
    async with plane_over(folders["classes"], gated=True, deploy=deploy) as parts:
        first = asyncio.create_task(parts.plane.predict(call_for(photos[0]), whole))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        late = [call_for(image, deadline=time.monotonic() + 0.05) for image in photos[1:5]]
        answers = await asyncio.gather(*(parts.plane.predict(call, whole) for call in late), return_exceptions=True)
        assert {type(answer) for answer in answers} == {DeadlineExceededError}
        parts.session.gate.set()
        await first
        await parts.plane.predict(call_for(photos[0]), whole)
        assert parts.session.batches == [1, 1]


async def test_an_abort_ends_what_is_inside_as_draining(folders: dict[str, Path], photos: list[bytes]):
    async with plane_over(folders["classes"], gated=True) as parts:
        inside = asyncio.create_task(parts.plane.predict(call_for(photos[0]), whole))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        parts.plane.abort()
        with pytest.raises(DrainingError, match="stopped before the answer was ready"):
            await inside
        await parts.plane.wait_empty()


async def test_a_timeout_of_a_model_itself_is_not_taken_for_the_deadline(folders: dict[str, Path], photos: list[bytes]):
    def serialize(answer: Answer) -> Answer:
        raise TimeoutError("a bug")

    async with plane_over(folders["classes"]) as parts:
        with pytest.raises(TimeoutError, match="a bug"):
            await parts.plane.predict(call_for(photos[0], deadline=time.monotonic() + 60), serialize)


async def test_a_caller_that_leaves_during_its_run_ends_the_run_and_its_seconds_are_wasted(
    folders: dict[str, Path], photos: list[bytes]
):
    async with plane_over(folders["classes"], gated=True) as parts:
        leaves = asyncio.create_task(parts.plane.predict(call_for(photos[0]), whole))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        parts.session.gate.set()
        await parts.plane.predict(call_for(photos[0]), whole)
        labels = {"model": "classes", "version": "1"}

        def value(name: str) -> float:
            return parts.metrics.registry.get_sample_value(f"ocella_{name}_total", labels) or 0.0

        assert value("terminated_runs") == 1
        assert 0 < value("wasted_inference_seconds") < value("inference_seconds")
        assert value("images") == 1


async def test_a_caller_that_leaves_before_its_run_is_never_run(folders: dict[str, Path], photos: list[bytes]):
    deploy = Deploy(batching=Batching(max_delay_ms=0.1), runtime=Runtime(instances=1))
    async with plane_over(folders["classes"], gated=True, deploy=deploy) as parts:
        first = asyncio.create_task(parts.plane.predict(call_for(photos[0]), whole))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        leaves = asyncio.create_task(parts.plane.predict(call_for(photos[1]), whole))
        batcher = parts.catalog.find("classes", 1).batcher
        async with asyncio.timeout(PATIENCE_S):
            while not batcher.queue_depth:
                await asyncio.sleep(0)
        leaves.cancel()
        parts.session.gate.set()
        await first
        assert parts.session.batches == [1]
        await parts.plane.wait_empty()


async def test_a_whole_image_whose_caller_leaves_before_its_turn_is_not_even_decoded(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    prepared: list[bytes] = []
    prepare = image_work.prepare
    monkeypatch.setattr(image_work, "prepare", lambda *given: prepared.append(given[1]) or prepare(*given))
    async with plane_over(folders["classes"], gated=True) as parts:
        first = asyncio.create_task(parts.plane.predict(call_for(photos[0]), whole))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        others = [asyncio.create_task(parts.plane.predict(call_for(photos[1]), whole)) for _ in range(3)]
        batcher = parts.catalog.find("classes", 1).batcher
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < 4:
                await asyncio.sleep(0)
        for other in others:
            other.cancel()
        parts.session.gate.set()
        await first
        await parts.plane.wait_empty()
    assert prepared == [photos[0]]
    assert parts.session.batches == [1]


async def test_a_whole_image_whose_thread_comes_too_late_is_not_decoded(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    pace = WaitingImages.pace  # at arrival there was time enough, on its thread there is none left
    monkeypatch.setattr(WaitingImages, "pace", lambda waiting, **_: pace(waiting, image_s=1e3, least_s=1e3))
    monkeypatch.setattr(image_work, "prepare", lambda *_: pytest.fail("it was decoded"))
    async with plane_over(folders["classes"]) as parts:
        with pytest.raises(DeadlineExceededError, match="too little time is left"):
            await parts.plane.predict(call_for(photos[0], deadline=time.monotonic() + PATIENCE_S), whole)


async def test_a_deadline_of_a_millisecond_is_a_passed_deadline_and_no_overload(
    folders: dict[str, Path], photos: list[bytes]
):
    async with plane_over(folders["classes"]) as parts:
        for _ in range(3):
            await parts.plane.predict(call_for(photos[0]), whole)
        with pytest.raises(DeadlineExceededError):
            await parts.plane.predict(call_for(photos[0], deadline=time.monotonic() + 0.001), whole)
        await parts.plane.wait_empty()


@pytest.mark.parametrize("rows", [0, 2])
async def test_another_number_of_rows_is_an_error_and_never_somebody_elses_row(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch, rows: int
):
    async with plane_over(folders["classes"]) as parts:
        served = parts.catalog.find("classes", 1)
        wrong = FaultySession(parts.session, lambda out: {name: value.repeat(rows, 0) for name, value in out.items()})
        monkeypatch.setattr(served._executor, "_session", wrong)
        with pytest.raises(ModelRunError, match="must have 1 rows"):
            await parts.plane.predict(call_for(photos[0]), whole)


async def test_what_a_model_raises_reaches_its_caller_and_the_next_is_answered(
    folders: dict[str, Path], photos: list[bytes], monkeypatch: pytest.MonkeyPatch
):
    def spoil(outputs: dict[str, AnyArray]) -> dict[str, AnyArray]:
        raise ModelRunError("the graph is broken")

    async with plane_over(folders["classes"]) as parts:
        served = parts.catalog.find("classes", 1)
        with monkeypatch.context() as broken:
            broken.setattr(served._executor, "_session", FaultySession(parts.session, spoil))
            with pytest.raises(ModelRunError, match="the graph is broken"):
                await parts.plane.predict(call_for(photos[0]), whole)
        assert (await parts.plane.predict(call_for(photos[0]), whole)).model == "classes"


@pytest.fixture
async def spoilt(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Parts]:
    """A model whose outputs are NaN in every row that is brighter than its neighbours of the batch."""

    def spoil(outputs: dict[str, AnyArray]) -> dict[str, AnyArray]:
        values = {name: value.copy() for name, value in outputs.items()}
        values["logits"][0] = math.nan
        return values

    async with plane_over(folders["classes"]) as parts:
        served = parts.catalog.find("classes", 1)
        monkeypatch.setattr(served._executor, "_session", FaultySession(parts.session, spoil))
        yield parts


async def test_a_nan_in_one_row_fails_that_row_alone(spoilt: Parts, photos: list[bytes]):
    model = spoilt.catalog.find("classes", 1)
    rows = [np.zeros((3, 96, 128), np.float32), np.ones((3, 96, 128), np.float32)]
    places = [model.batcher.admission.enter(Claim()) for _ in rows]
    jobs = (model.batcher.run(model.image_rows(row), place) for row, place in zip(rows, places, strict=True))
    bad, good = await asyncio.gather(*jobs)
    for place in places:
        model.batcher.admission.leave(place)
    assert np.isnan(bad.outputs["logits"]).all()
    assert np.isfinite(good.outputs["logits"]).all()
    with pytest.raises(ModelOutputError):
        await spoilt.plane.predict(call_for(photos[0]), whole)


async def test_a_model_is_described_by_its_manifest_and_what_its_replay_proved(server: ListeningServer):
    description = server.plane.describe("things", 0)
    most = server.catalog.find("things", 1).policy.max_size  # it follows the time of a row on this machine
    assert (description.model, description.version, description.max_batch) == ("things", 1, most)
    assert description.provider == "CPUExecutionProvider"
    assert '"name":"things"' in description.manifest_json
    assert "stability, not correctness" in description.golden
