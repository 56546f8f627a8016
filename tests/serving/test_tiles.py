"""``PredictTiles``: equal to the offline definition, tile by tile, and ended half-way at no further cost."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from pipelines.errors import DeadlineExceededError, ImageDecodeError, InvalidRequestError, ServerFaultError
from pipelines.image import ImageLimits
from pipelines.loader import load_model
from pipelines.options import PredictOptions
from pipelines.tile_options import TileOptions
from pipelines.tiles import TiledResult, predict_tiles
from pipelines.types import identical
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, TilePrediction
from tests.builders import classification_head, detection_head, image_spec, segmentation_head, yolo_grid
from tests.graphs import classifier_graph, heatmap_graph, segmenter_graph, yolo_graph
from tests.packages import make_package, photo, png
from tests.serving.servers import NO_OPTIONS, PATIENCE_S, FaultySession, GatedSession, running_server, swap_session

SMALL = TileOptions(size=96, overlap=0.25)
MODELS = {
    "points": (heatmap_graph, detection_head()),
    "boxes": (yolo_graph, detection_head(decoder=yolo_grid())),
    "alpha": (segmenter_graph, segmentation_head(activation="sigmoid")),
    "classes": (lambda: segmenter_graph(num_classes=4), segmentation_head(activation="softmax")),
    "kinds": (classifier_graph, classification_head()),
}


@pytest.fixture(scope="module")
def tiled_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiled")
    for name, (graph, head) in MODELS.items():
        make_package(root / name / "1", graph=graph(), head=head, image=image_spec(), name=name)
    return {name: root / name / "1" for name in MODELS}


@pytest.fixture(scope="module")
def tiled_repository(tiled_folders: dict[str, Path]) -> Path:
    return tiled_folders["points"].parent.parent


@pytest.fixture
async def tiled_server(tiled_repository: Path) -> AsyncIterator[ListeningServer]:
    async with running_server(tiled_repository) as server:
        yield server


@pytest.fixture
async def tiled_client(tiled_server: ListeningServer) -> AsyncIterator[AsyncVisionClient]:
    async with AsyncVisionClient(tiled_server.grpc_address, timeout_s=60) as client:
        yield client


@pytest.fixture(scope="module")
def large() -> bytes:
    return png(photo("coffee", size_wh=(300, 200)))


def offline_tiles(folder: Path, data: bytes, tiles: TileOptions, options: PredictOptions = NO_OPTIONS) -> TiledResult:
    with load_model(folder) as loaded:
        image = loaded.pipeline.decode(data, ImageLimits())
        return predict_tiles(loaded.pipeline, loaded.session, image, tiles, options)


@pytest.mark.parametrize(
    ("model", "tiles", "options"),
    [
        ("points", SMALL, {}),
        ("points", SMALL, {"score_threshold": 0.7, "iou_threshold": 0.8, "max_detections": 9}),
        ("points", TileOptions(size=96, whole_image=True, criterion="ios", merge_threshold=0.3), {}),
        ("boxes", TileOptions(size=96, merge="fuse"), {}),
        ("alpha", SMALL, {}),
        ("alpha", SMALL, {"score_threshold": 0.8}),
        ("classes", SMALL, {}),
    ],
)
async def test_every_tile_and_the_merged_result_equal_the_offline_ones_to_the_bit(
    tiled_client: AsyncVisionClient,
    tiled_folders: dict[str, Path],
    large: bytes,
    model: str,
    tiles: TileOptions,
    options: dict,
):
    expected = offline_tiles(tiled_folders[model], large, tiles, PredictOptions(**options))
    *parts, merged = [answer async for answer in tiled_client.predict_tiles(model, large, tiles, **options)]
    count = len(expected.windows)
    assert sorted(part.index for part in parts) == list(range(count))
    for part in parts:
        assert not part.merged
        assert (part.count, part.image_hw) == (count, (200, 300))
        assert part.window == expected.windows[part.index]
        assert identical(part.result, expected.results[part.index])
    assert merged.merged
    assert (merged.index, merged.count, merged.window) == (count, count, (0, 0, 300, 200))
    assert identical(merged.result, expected.merged)


@pytest.mark.parametrize("model", ["points", "alpha", "classes"])
async def test_an_image_in_one_tile_is_answered_as_by_predict(
    tiled_client: AsyncVisionClient, large: bytes, model: str
):
    (tile, merged) = [each async for each in tiled_client.predict_tiles(model, large, TileOptions(size=300))]
    alone = await tiled_client.predict(model, large)
    assert identical(tile.result, alone.result)
    assert identical(merged.result, alone.result)


@pytest.mark.parametrize("mask_format", ["png", "rle", "polygon"])
async def test_a_tiles_mask_travels_in_every_format(
    tiled_client: AsyncVisionClient, tiled_folders: dict[str, Path], large: bytes, mask_format: str
):
    expected = offline_tiles(tiled_folders["classes"], large, SMALL)
    answers = [each async for each in tiled_client.predict_tiles("classes", large, SMALL, mask_format=mask_format)]
    for answer in answers:
        result = expected.merged if answer.merged else expected.results[answer.index]
        assert identical(answer.result, result)


async def test_the_timings_of_the_whole_are_sums_and_the_id_is_echoed(tiled_client: AsyncVisionClient, large: bytes):
    answers = [each async for each in tiled_client.predict_tiles("points", large, SMALL, timings=True, id="roof")]
    *parts, merged = answers
    assert {answer.id for answer in answers} == {"roof"}
    assert merged.timings.inference_s == pytest.approx(sum(part.timings.inference_s for part in parts))
    assert merged.timings.decode_s == pytest.approx(sum(part.timings.decode_s for part in parts))
    assert merged.timings.postprocess_s > sum(part.timings.postprocess_s for part in parts)


async def test_defaults_of_the_wire_are_those_of_the_options(tiled_server: ListeningServer, large: bytes):
    async with AsyncVisionClient(tiled_server.grpc_address) as client:
        answers = [answer async for answer in client.predict_tiles("points", large)]
    async with grpc.aio.insecure_channel(tiled_server.grpc_address) as channel:
        request = pb.PredictRequest(model="points", image=large)
        raw = [answer async for answer in VisionStub(channel).PredictTiles(request)]
    assert [answer.window.width for answer in raw] == [
        right - left for left, _, right, _ in (a.window for a in answers)
    ]
    assert list(raw[-1].response.detections.scores) == answers[-1].result.scores.tolist()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "tiles", "options", "words"),
    [
        ("kinds", SMALL, {}, "tiles apply to detection and segmentation, not to classification"),
        ("alpha", TileOptions(whole_image=True), {}, "whole_image does not apply to segmentation"),
        ("points", TileOptions(size=96, merge="fuse"), {}, "merge fuse does not apply to objects with keypoints"),
        ("points", TileOptions(size=32, max_tiles=4), {}, r"the limit is 4"),
        ("points", SMALL, {"top_k": 3}, "top_k does not apply"),
    ],
)
async def test_what_cannot_be_answered_in_tiles_is_refused(
    tiled_client: AsyncVisionClient, large: bytes, model: str, tiles: TileOptions, options: dict, words: str
):
    with pytest.raises(InvalidRequestError, match=words):
        [answer async for answer in tiled_client.predict_tiles(model, large, tiles, **options)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (pb.TileOptions(size=8), "tile size must be between 32 and 16,384, got 8"),
        (pb.TileOptions(overlap=1.0), "tile overlap must be between 0 and 0.9, got 1.0"),
        (pb.TileOptions(max_tiles=-1), "max_tiles must be between 1 and 1,024, got -1"),
        (pb.TileOptions(merge=9), "tile_options.merge must be one of"),
        (pb.TileOptions(criterion=9), "tile_options.criterion must be one of"),
    ],
    ids=["size", "overlap", "max_tiles", "merge", "criterion"],
)
async def test_fields_out_of_range_are_refused(
    tiled_server: ListeningServer, large: bytes, options: pb.TileOptions, words: str
):
    async with grpc.aio.insecure_channel(tiled_server.grpc_address) as channel:
        call = VisionStub(channel).PredictTiles(pb.PredictRequest(model="points", image=large, tile_options=options))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in str(refused.value.details())


async def test_a_bad_image_is_refused(tiled_client: AsyncVisionClient):
    with pytest.raises(ImageDecodeError):
        [answer async for answer in tiled_client.predict_tiles("points", b"none")]


async def test_a_model_that_fails_fails_the_whole_and_frees_every_place(
    tiled_repository: Path, large: bytes, monkeypatch: pytest.MonkeyPatch
):
    def spoil(_: object) -> dict:
        raise RuntimeError("the graph broke")

    swap_session(monkeypatch, "points", lambda session: FaultySession(session, spoil))
    async with running_server(tiled_repository) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(ServerFaultError, match="internal error, request"):
            [answer async for answer in client.predict_tiles("points", large, SMALL)]
        await server.plane.wait_empty()
        assert server.catalog.find("points", 1).batcher.inside == 0


# --- half-way --------------------------------------------------------------------------------------------------------


async def test_tiles_come_before_all_are_done_and_leaving_begins_no_further_one(
    tiled_repository: Path, monkeypatch: pytest.MonkeyPatch
):
    data = png(photo("coffee", size_wh=(320, 320)))
    tiles = TileOptions(size=32, overlap=0.0)
    made = swap_session(monkeypatch, "points", GatedSession)
    async with running_server(tiled_repository) as server, AsyncVisionClient(server.grpc_address) as client:
        batcher = server.catalog.find("points", 1).batcher
        stream = client.predict_tiles("points", data, tiles)
        first = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
            made[0].gate.set()
            tile = await first
            assert isinstance(tile, TilePrediction)
            assert (tile.merged, tile.count) == (False, 100)
            made[0].gate.clear()
            await stream.aclose()
            await server.plane.wait_empty()
        assert (batcher.inside, batcher.queue_depth) == (0, 0)
        made[0].gate.set()
        ran = sum(made[0].batches)
        assert ran < 100
        other = await client.predict("kinds", data)
        assert other.result
        assert sum(made[0].batches) == ran


async def test_no_more_than_the_next_batches_are_in_work_at_once(
    tiled_repository: Path, monkeypatch: pytest.MonkeyPatch
):
    data = png(photo("coffee", size_wh=(320, 320)))
    made = swap_session(monkeypatch, "points", GatedSession)
    async with running_server(tiled_repository) as server, AsyncVisionClient(server.grpc_address) as client:
        batcher = server.catalog.find("points", 1).batcher
        most = batcher.policy.slots * batcher.policy.max_size + batcher.policy.slots + 1  # the image's own place
        stream = client.predict_tiles("points", data, TileOptions(size=32, overlap=0.0))
        first = asyncio.ensure_future(anext(stream))
        assert await asyncio.to_thread(made[0].entered.acquire, timeout=PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S):
            while batcher.inside < most:
                await asyncio.sleep(0)
        assert (await client.predict("kinds", data)).result  # a whole call later no further tile has been let in
        assert batcher.inside == most
        made[0].gate.set()
        answers = [await first] + [answer async for answer in stream]
        assert len(answers) == 101
        assert max(made[0].batches) > 1


async def test_a_deadline_ends_the_whole(tiled_repository: Path, large: bytes, monkeypatch: pytest.MonkeyPatch):
    made = swap_session(monkeypatch, "points", GatedSession)
    async with running_server(tiled_repository) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(DeadlineExceededError):
            [answer async for answer in client.predict_tiles("points", large, SMALL, timeout_s=0.3)]
        await server.plane.wait_empty()
        assert server.catalog.find("points", 1).batcher.inside == 0
        made[0].gate.set()


async def test_tiles_that_find_the_queue_full_come_again(tiled_folders: dict[str, Path], tmp_path: Path, large: bytes):
    root = tmp_path / "points"
    root.mkdir()
    shutil.copytree(tiled_folders["points"], root / "1")
    (root / "deploy.toml").write_text("[batching]\nmax_size = 1\nmax_queue = 1\n[runtime]\ninstances = 1\n")
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        assert server.catalog.find("points", 1).batcher.policy.capacity == 2
        *_, merged = [answer async for answer in client.predict_tiles("points", large, SMALL)]
        assert identical(merged.result, offline_tiles(tiled_folders["points"], large, SMALL).merged)


async def test_a_model_with_room_for_one_request_is_refused(
    tiled_folders: dict[str, Path], tmp_path: Path, large: bytes
):
    root = tmp_path / "points"
    root.mkdir()
    shutil.copytree(tiled_folders["points"], root / "1")
    (root / "deploy.toml").write_text("[batching]\nmax_size = 1\nmax_queue = 0\n[runtime]\ninstances = 1\n")
    async with running_server(tmp_path) as server, AsyncVisionClient(server.grpc_address) as client:
        with pytest.raises(InvalidRequestError, match="tiles need room for two requests"):
            [answer async for answer in client.predict_tiles("points", large, SMALL)]


async def test_a_reader_that_stops_early_frees_the_server(tiled_server: ListeningServer, large: bytes):
    async with AsyncVisionClient(tiled_server.grpc_address) as client:
        async with contextlib.aclosing(client.predict_tiles("points", large, SMALL)) as stream:
            await anext(stream)
        async with asyncio.timeout(PATIENCE_S):
            await tiled_server.plane.wait_empty()
    assert tiled_server.catalog.find("points", 1).batcher.inside == 0
