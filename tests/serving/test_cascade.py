"""A cascade behind a real server answers as it does offline, and the objects of concurrent requests share runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InvalidRequestError
from pipelines.options import PredictOptions
from pipelines.types import CascadeResult, Classification, SegmentationMap, identical
from serving.app import ListeningServer
from serving.client import AsyncVisionClient
from tests.cascades import SECONDS, align_crop, make_cascade
from tests.packages import edit_manifest, photo, png
from tests.serving.servers import Offline, running_server


@pytest.fixture(scope="module")
def cascade_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("cascades")
    crops = {"classification": None, "embedding": align_crop(), "segmentation": None}
    return {
        f"with-{second}": make_cascade(
            root / f"with-{second}" / "1", second=second, crop=crops[second], name=f"with-{second}"
        )
        for second in SECONDS
    }


@pytest.fixture(scope="module")
def truth(cascade_folders: dict[str, Path]) -> Offline:
    return Offline(cascade_folders)


@pytest.fixture
async def cascades(cascade_folders: dict[str, Path]) -> AsyncIterator[ListeningServer]:
    async with running_server(next(iter(cascade_folders.values())).parent.parent) as server:
        yield server


@pytest.fixture
async def caller(cascades: ListeningServer) -> AsyncIterator[AsyncVisionClient]:
    async with AsyncVisionClient(cascades.grpc_address, timeout_s=60) as client:
        yield client


async def test_a_cascade_is_listed_and_described_as_any_model(caller: AsyncVisionClient) -> None:
    rows = await caller.list_models()
    assert [(row.name, row.task, row.ready) for row in rows] == [(f"with-{each}", "cascade", True) for each in SECONDS]
    described = await caller.describe_model("with-embedding")
    assert '"task":"cascade"' in described.manifest_json
    assert "stability" in described.golden


@pytest.mark.parametrize("second", SECONDS)
async def test_concurrent_photos_get_the_answers_of_the_offline_path_to_the_bit(
    caller: AsyncVisionClient, truth: Offline, photos: list[bytes], second: str
) -> None:
    model = f"with-{second}"
    answers = await asyncio.gather(*(caller.predict(model, data) for data in photos))
    found = [answer.result for answer in answers]
    assert sum(len(result) for result in found if isinstance(result, CascadeResult)) > len(photos)
    for data, result in zip(photos, found, strict=True):
        assert identical(result, truth(model, data))


async def test_an_image_without_objects_answers_with_none(caller: AsyncVisionClient) -> None:
    answer = await caller.predict("with-segmentation", png(photo()), score_threshold=1.0, timings=True)
    assert isinstance(answer.result, CascadeResult)
    assert (len(answer.result), answer.result.objects) == (0, ())
    assert answer.timings is not None
    assert answer.timings.queue_s >= 0


async def test_options_reach_the_model_that_they_act_on(caller: AsyncVisionClient, truth: Offline) -> None:
    options: dict[str, Any] = {"max_detections": 3, "top_k": 1}
    answer = await caller.predict("with-classification", png(photo()), **options)
    assert identical(answer.result, truth("with-classification", png(photo()), PredictOptions(**options)))
    assert isinstance(answer.result, CascadeResult)
    assert {len(each) for each in answer.result.objects if isinstance(each, Classification)} == {1}


@pytest.mark.parametrize(
    ("model", "option"), [("with-embedding", {"top_k": 1}), ("with-classification", {"mask_format": "png"})]
)
async def test_an_option_that_acts_on_neither_model_is_refused(
    caller: AsyncVisionClient, model: str, option: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError, match="does not apply"):
        await caller.predict(model, png(photo()), **option)


@pytest.mark.parametrize("mask_format", ["png", "rle", "polygon"])
async def test_the_masks_of_crops_arrive_in_every_format(
    caller: AsyncVisionClient, truth: Offline, mask_format: Any
) -> None:
    answer = await caller.predict("with-segmentation", png(photo()), mask_format=mask_format)
    expected = truth("with-segmentation", png(photo()))
    assert isinstance(answer.result, CascadeResult)
    assert isinstance(expected, CascadeResult)
    for got, want in zip(answer.result.objects, expected.objects, strict=True):
        assert isinstance(got, SegmentationMap)
        assert isinstance(want, SegmentationMap)
        assert np.array_equal(got.class_map, want.class_map)


async def test_a_stream_of_a_cascade_answers_in_order(
    caller: AsyncVisionClient, truth: Offline, photos: list[bytes]
) -> None:
    answers = [answer async for answer in caller.predict_stream("with-classification", photos[:6])]
    for data, answer in zip(photos[:6], answers, strict=True):
        assert not isinstance(answer, Exception)
        assert identical(answer.result, truth("with-classification", data))


async def test_the_objects_of_an_image_share_runs(cascades: ListeningServer, caller: AsyncVisionClient) -> None:
    """Counted by the server itself: fewer runs than images and objects."""
    before = await _runs(cascades)
    answer = await caller.predict("with-classification", png(photo()))
    assert isinstance(answer.result, CascadeResult)
    assert len(answer.result) >= 4
    assert await _runs(cascades) - before < 1 + len(answer.result)


async def test_a_cascade_whose_member_was_changed_is_not_ready(tmp_path: Path) -> None:
    folder = make_cascade(tmp_path / "pair" / "1")
    good = make_cascade(tmp_path / "good" / "1", name="good")
    edit_manifest(folder / "second", lambda raw: raw["head"].update(top_k=2), reseal=True)
    async with (
        running_server(folder, good) as server,
        AsyncVisionClient(server.grpc_address, timeout_s=60) as client,
    ):
        reasons = {row.name: row.reason for row in await client.list_models()}
    assert reasons["good"] == ""
    assert "the cascade names" in reasons["pair"]


async def _runs(server: ListeningServer) -> float:
    import httpx

    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://{server.http_address}/metrics")).text
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("ocella_batch_size_images_count") and 'model="with-classification"' in line
    )
    return float(line.split()[-1])
