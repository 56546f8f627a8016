"""A replica without Ray: real packages, questions as a router sends them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install 'ocella[ray]'")

from pipelines.errors import ModelNotReadyError
from pipelines.types import identical
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.wire import read_prediction
from serving.ray.messages import Question, WebRequest
from serving.ray.replica import Replica
from serving.status import Failure
from tests.packages import edit_manifest, make_package
from tests.serving.servers import Offline, settings_for


class Silent:
    """A board that takes all."""

    def __getattr__(self, _: str) -> Any:
        return self

    async def remote(self, *_: Any) -> None:
        return None


@asynccontextmanager
async def replica_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replica]:
    monkeypatch.setattr("serving.ray.replica.serve.get_deployment_handle", lambda *_: Silent())
    monkeypatch.setattr("serving.ray.replica.own_name", lambda: "replica")
    replica = Replica.__new__(Replica)
    await replica.__init__(settings_for(folder).model_dump(mode="json"), 1, "digest")
    try:
        yield replica
    finally:
        await replica.close()


@pytest.fixture
async def replica(repository: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replica]:
    async with replica_of(repository, monkeypatch) as replica:
        yield replica


def question(model: str, image: bytes, *, remaining_s: float | None = None, **fields: Any) -> Question:
    return Question(pb.PredictRequest(model=model, image=image, **fields).SerializeToString(), remaining_s, "peer")


async def answer_of(replica: Replica, asked: Question) -> Any:
    outcome = await replica.unary("Predict", asked)
    assert isinstance(outcome, bytes)
    return read_prediction(pb.PredictResponse.FromString(outcome)).result


async def test_answers_equal_the_offline_results_to_the_bit(replica: Replica, offline: Offline, photos: list[bytes]):
    for model in ("classes", "things", "masks", "vectors"):
        assert identical(await answer_of(replica, question(model, photos[0])), offline(model, photos[0]))


@pytest.mark.parametrize(
    ("asked", "code", "reason"),
    [
        (question("classes", b"nothing"), grpc.StatusCode.INVALID_ARGUMENT, "ImageDecodeError"),
        (question("classes", b"", version=9), grpc.StatusCode.NOT_FOUND, "UnknownModelError"),
        (question("classes", b"x", remaining_s=0.0), grpc.StatusCode.DEADLINE_EXCEEDED, "DeadlineExceededError"),
        (Question(b"\xff", None, "peer"), grpc.StatusCode.INVALID_ARGUMENT, "InvalidRequestError"),
    ],
)
async def test_refusals_keep_code_and_reason(replica: Replica, asked: Question, code: grpc.StatusCode, reason: str):
    outcome = await replica.unary("Predict", asked)
    assert isinstance(outcome, Failure)
    assert (outcome.status.grpc, outcome.reason) == (code, reason)


async def test_a_request_of_a_stream_is_answered_as_a_stream_of_its_own(replica: Replica, photos: list[bytes]):
    good, bad = [
        pb.PredictResponse.FromString(await replica.unary("PredictStream", question("classes", image, id="7")))
        for image in (photos[0], b"nothing")
    ]
    assert (good.id, good.HasField("classification")) == ("7", True)
    assert (bad.id, bad.error.reason) == ("7", "ImageDecodeError")


async def test_tiles_come_one_by_one(replica: Replica, photos: list[bytes]):
    outcomes = [outcome async for outcome in replica.many("PredictTiles", question("things", photos[0]))]
    assert [pb.TileResponse.FromString(outcome).merged for outcome in outcomes] == [False] * (len(outcomes) - 1) + [
        True
    ]


async def test_a_refusal_is_the_last_of_many_answers(replica: Replica, photos: list[bytes]):
    (outcome,) = [outcome async for outcome in replica.many("PredictTiles", question("classes", photos[0]))]
    assert isinstance(outcome, Failure)
    assert outcome.status.grpc is grpc.StatusCode.INVALID_ARGUMENT


async def test_http_is_answered_as_by_the_server(replica: Replica, photos: list[bytes]):
    headers = [(b"host", b"127.0.0.1:8000"), (b"content-type", b"image/png")]
    reply = await replica.web(WebRequest("POST", "/v1/models/classes:predict", b"", headers, photos[0], "127.0.0.1"))
    assert reply.status == 200
    assert json.loads(reply.body)["model"] == "classes"


async def test_a_replica_with_a_model_is_healthy(replica: Replica):
    replica.check_health()
    assert [status.ready for status in await replica.statuses()] == [True] * 4
    assert await replica.digest() == "digest"


async def test_a_replica_whose_model_does_not_load_says_why_when_its_health_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_package(tmp_path / "cats" / "1", name="cats")
    edit_manifest(folder, lambda raw: raw["labels"].reverse(), reseal=False)
    async with replica_of(tmp_path, monkeypatch) as replica:
        with pytest.raises(ModelNotReadyError, match="recipe changed"):
            replica.check_health()
