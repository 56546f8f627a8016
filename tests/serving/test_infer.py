"""The tensor path of the data plane."""

import asyncio
import math
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import DeadlineExceededError, InvalidRequestError, UnknownModelError
from pipelines.image import ImageLimits
from pipelines.loader import load_package
from pipelines.types import AnyArray
from serving.app import ListeningServer
from serving.dataplane import InferCall, PredictCall
from serving.deploy import Batching, Deploy, Runtime
from tests.serving.servers import PATIENCE_S, Offline
from tests.serving.test_dataplane import plane_over


def pixels(rows: int, *, seed: int = 0) -> AnyArray:
    return np.random.default_rng(seed).normal(size=(rows, 3, 96, 128)).astype(np.float32)


def call(tensor: AnyArray, **over: object) -> InferCall:
    return InferCall(model="classes", tensors={"image": tensor}, **over)


async def test_an_answer_equals_the_graphs_own_row_by_row_to_the_bit(server: ListeningServer, folders: dict[str, Path]):
    rows = pixels(3)
    answer = await server.plane.infer(call(rows))
    with load_package(folders["classes"]) as loaded:
        alone = np.concatenate([loaded.session.run({"image": row[None]})["logits"] for row in rows])
    assert np.array_equal(answer.outputs["logits"], alone)
    assert (answer.model, answer.version) == ("classes", 1)


async def test_tensors_and_images_share_a_run(folders: dict[str, Path], photos: list[bytes], offline: Offline):
    deploy = Deploy(batching=Batching(max_delay_ms=0.1), runtime=Runtime(instances=1))
    async with plane_over(folders["classes"], gated=True, deploy=deploy) as parts:
        first = asyncio.create_task(parts.plane.infer(call(pixels(1))))
        assert await asyncio.to_thread(parts.session.entered.acquire, timeout=PATIENCE_S)
        tensors = asyncio.create_task(parts.plane.infer(call(pixels(2))))
        image = asyncio.create_task(parts.plane.predict(PredictCall(model="classes", image=photos[0]), lambda a: a))
        batcher = parts.catalog.find("classes", 1).batcher
        async with asyncio.timeout(PATIENCE_S):
            while batcher.queue_depth < 3:
                await asyncio.sleep(0)
        parts.session.gate.set()
        await asyncio.gather(first, tensors, image)
        assert parts.session.batches == [1, 3]
        assert np.array_equal(image.result().result.scores, offline("classes", photos[0]).scores)


async def test_more_rows_than_a_run_takes_are_run_in_pieces_and_come_back_in_order(folders: dict[str, Path]):
    rows = pixels(7)
    deploy = Deploy(batching=Batching(max_size=2))
    async with plane_over(folders["classes"], deploy=deploy) as parts:
        answer = await parts.plane.infer(call(rows))
        alone = np.concatenate([parts.session.run({"image": row[None]})["logits"] for row in rows])
    assert np.array_equal(answer.outputs["logits"], alone)


async def test_more_rows_than_there_are_places_are_refused(folders: dict[str, Path]):
    deploy = Deploy(batching=Batching(max_size=1, max_queue=1))
    async with plane_over(folders["classes"], deploy=deploy) as parts:
        with pytest.raises(InvalidRequestError, match="at most 2 rows, got 3"):
            await parts.plane.infer(call(pixels(3)))


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (InferCall(model="cats", tensors={}), UnknownModelError),
        (InferCall(model="classes", tensors={}), InvalidRequestError),
        (call(pixels(1).astype(np.float64)), InvalidRequestError),
        (call(pixels(1), outputs=("masks",)), InvalidRequestError),
        (call(pixels(1), deadline=0), DeadlineExceededError),
    ],
    ids=["model", "inputs", "dtype", "output", "deadline"],
)
async def test_a_bad_call_is_one_clear_error_and_leaves_nothing_inside(
    server: ListeningServer, bad: InferCall, error: type[Exception]
):
    with pytest.raises(error):
        await server.plane.infer(bad)
    async with asyncio.timeout(PATIENCE_S):
        await server.plane.wait_empty()


async def test_the_time_of_an_answer_is_told_by_stage_and_counted(folders: dict[str, Path]):
    async with plane_over(folders["classes"]) as parts:
        start = time.monotonic()
        answer = await parts.plane.infer(call(pixels(2)))
        assert 0 < answer.inference_s < answer.inference_s + answer.queue_s <= time.monotonic() - start
        labels = {"model": "classes", "version": "1"}
        assert parts.metrics.registry.get_sample_value("ocella_images_total", labels) == 2
        assert not math.isnan(answer.queue_s)


async def test_limits_of_an_image_do_not_touch_tensors(folders: dict[str, Path]):
    async with plane_over(folders["classes"], limits=ImageLimits(max_pixels=1)) as parts:
        assert (await parts.plane.infer(call(pixels(1)))).outputs["logits"].shape[0] == 1
