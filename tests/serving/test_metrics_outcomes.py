"""Counters of requests against what clients count, with every way in which a request can end."""

import asyncio
import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from pipelines.errors import OcellaError
from serving.app import ListeningServer
from serving.client import AsyncVisionClient, Prediction
from tests.serving.servers import PATIENCE_S, GatedSession, running_server, swap_session

CODES = {
    "DeadlineExceededError": "DEADLINE_EXCEEDED",
    "ImageDecodeError": "INVALID_ARGUMENT",
    "ImageTooLargeError": "INVALID_ARGUMENT",
    "InvalidRequestError": "INVALID_ARGUMENT",
    "OverloadedError": "RESOURCE_EXHAUSTED",
    "UnknownModelError": "NOT_FOUND",
    "CancelledError": "CANCELLED",
    "Prediction": "OK",
}
MAX_BYTES = 256 * 1024
LATE = ("DEADLINE_EXCEEDED", "CANCELLED")
# Each is asked of a model that never answers, within the time that it takes the server to hear of all of them.
DEADLINES, CANCELS, DEADLINE_S = 60, 60, 5.0
NO_CANARY = {"canary_interval_s": 0, "max_image_bytes": MAX_BYTES}


def by_code(server: ListeningServer, family: str = "ocella_requests") -> Counter[str]:
    found: Counter[str] = Counter()
    for metric in server.metrics.registry.collect():
        if metric.name == family:
            for sample in metric.samples:
                found[sample.labels.get("code", "")] += int(sample.value)
    return found


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0)


async def outcome_of(work: Awaitable[Prediction]) -> str:
    """The code that a client sees."""
    try:
        return CODES[type(await work).__name__]
    except (OcellaError, asyncio.CancelledError) as error:
        return CODES[type(error).__name__]


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch) -> list[GatedSession]:
    """The session of ``vectors``, which answers nobody until its gate is open."""
    return swap_session(monkeypatch, "vectors", GatedSession)


async def test_three_thousand_mixed_outcomes_are_counted_as_their_clients_count_them(
    repository: Path, photos: list[bytes], gated: list[GatedSession]
):
    kinds = [
        ("classes", photos[0], {}),
        ("classes", photos[1], {}),
        ("things", photos[1], {"score_threshold": 0.4}),
        ("classes", b"no image", {}),
        ("classes", bytes(MAX_BYTES + 1), {}),
        ("things", photos[1], {"top_k": 3}),
        ("cats", photos[0], {}),
        ("things", photos[1], {"version": 9}),
    ]
    jobs = random.Random(8).choices(kinds, k=3000 - DEADLINES - CANCELS)
    room = asyncio.Semaphore(32)
    async with (
        running_server(repository, **NO_CANARY) as server,
        AsyncVisionClient(server.grpc_address, retry=None) as client,
    ):

        async def answered(model: str, image: bytes, options: dict[str, object]) -> str:
            async with room:
                return await outcome_of(client.predict(model, image, timeout_s=PATIENCE_S, **options))

        def unanswered(count: int, timeout_s: float) -> list[asyncio.Task[str]]:
            ask = [client.predict("vectors", photos[0], timeout_s=timeout_s) for _ in range(count)]
            return [asyncio.create_task(outcome_of(one)) for one in ask]

        late, left = unanswered(DEADLINES, DEADLINE_S), unanswered(CANCELS, PATIENCE_S)
        entered = server.catalog.find("vectors", 1).batcher
        await until(lambda: entered.inside == DEADLINES + CANCELS)
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(answered(*job)) for job in jobs]
            for task in left:
                task.cancel()
        seen = Counter([task.result() for task in others] + await asyncio.gather(*late, *left))
        await until(lambda: by_code(server).total() >= seen.total())
        await until(lambda: entered.inside == 0)
        gated[0].gate.set()
        await server.plane.wait_empty()
        counted, cancelled = by_code(server), by_code(server, "ocella_cancelled")
    assert seen.total() == counted.total() == 3000
    # Whether a deadline or its client's leaving is seen first is a matter of milliseconds; that it is one is not.
    assert sum(counted[code] for code in LATE) == sum(seen[code] for code in LATE) == DEADLINES + CANCELS
    assert cancelled.total() == counted["CANCELLED"] >= CANCELS
    for code in LATE:
        del counted[code], seen[code]
    assert counted == seen


async def test_a_frame_that_gave_way_is_counted_once_as_dropped(
    repository: Path, photos: list[bytes], gated: list[GatedSession]
):
    async with (
        running_server(repository, **NO_CANARY) as server,
        AsyncVisionClient(server.grpc_address, retry=None) as client,
    ):
        admission = server.catalog.find("vectors", 1).batcher.admission
        dropped = server.metrics.frames_dropped

        async def images() -> AsyncIterator[bytes]:
            for i in range(60):
                yield photos[i % len(photos)]
            await until(lambda: dropped.value > 0 and admission.inside > 0)
            gated[0].gate.set()

        stream = client.predict_stream("vectors", images(), window=40, when_full="drop_oldest")
        answers = [answer async for answer in stream]
        got = sum(isinstance(answer, Prediction) for answer in answers)
        counted, left = by_code(server), by_code(server, "ocella_cancelled")
    assert len(answers) == 60
    assert dropped.value == 60 - got > 0
    assert counted == Counter({"OK": got})
    assert not left.total()


async def test_requests_that_find_no_room_are_counted_by_the_reason_and_by_the_code(
    repository: Path, photos: list[bytes], gated: list[GatedSession], tmp_path: Path
):
    shutil.copytree(repository / "vectors", tmp_path / "vectors")
    (tmp_path / "vectors" / "deploy.toml").write_text(
        "[batching]\nmax_size = 1\nmax_queue = 0\n[runtime]\ninstances = 1\n"
    )
    async with (
        running_server(tmp_path, **NO_CANARY) as server,
        AsyncVisionClient(server.grpc_address, retry=None) as client,
    ):
        first = asyncio.create_task(outcome_of(client.predict("vectors", photos[0], timeout_s=PATIENCE_S)))
        await until(lambda: server.catalog.find("vectors", 1).batcher.inside == 1)
        asked = (client.predict("vectors", photos[0], timeout_s=PATIENCE_S) for _ in range(5))
        refused = await asyncio.gather(*map(outcome_of, asked))
        gated[0].gate.set()
        assert await first == "OK"
        labels = {"model": "vectors", "version": "1"}
        rejected = server.metrics.registry.get_sample_value("ocella_rejected_total", labels | {"reason": "queue_full"})
        assert by_code(server) == Counter({"OK": 1, "RESOURCE_EXHAUSTED": 5})
    assert refused == ["RESOURCE_EXHAUSTED"] * 5
    assert rejected == 5


async def test_a_stream_that_is_refused_as_a_whole_is_one_request(repository: Path, photos: list[bytes]):
    async with running_server(repository) as server, AsyncVisionClient(server.grpc_address, retry=None) as client:
        with pytest.raises(OcellaError, match="window"):
            _ = [answer async for answer in client.predict_stream("classes", [photos[0]], window=1000)]
        await until(lambda: by_code(server).total() == 1)
        assert by_code(server) == Counter({"INVALID_ARGUMENT": 1})
        assert not server.metrics.frames_failed.value
