"""Damaged requests to every method of ``ocella.v1``: the caller's mistake or an answer, never a fault of the server."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos.ocella.v1 import faces_pb2 as faces
from protos.ocella.v1 import vision_pb2 as pb
from serving.app import ListeningServer
from tests.packages import photo, png
from tests.serving.servers import PATIENCE_S, running_server

FUZZED = 40  # requests a method
SEED = 6
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,  # a gallery that was never calibrated
}
PHOTO = png(photo(size_wh=(160, 128)))
OPTIONS = pb.PredictOptions(score_threshold=0.5, iou_threshold=0.25, max_detections=3, timings=True)
FRAME = pb.PredictRequest(model="things", image=PHOTO, id="7", options=OPTIONS, stream_options={"window": 4})
TILED = pb.PredictRequest(model="things", image=PHOTO, tile_options={"size": 96, "overlap": 0.25})
UNARY = {
    "Vision/Predict": FRAME,
    "Vision/ListModels": pb.ListModelsRequest(),
    "Vision/DescribeModel": pb.DescribeModelRequest(model="things", version=1),
    "Faces/Enroll": faces.EnrollRequest(model="vectors", person="ada", images=[PHOTO]),
    "Faces/Verify": faces.VerifyRequest(model="vectors", probe=PHOTO, image=PHOTO, threshold=0.5),
    "Faces/Identify": faces.IdentifyRequest(model="vectors", image=PHOTO, top_k=3, threshold=0.5),
    "Faces/ListPeople": faces.ListPeopleRequest(model="vectors"),
    "Faces/RemovePerson": faces.RemovePersonRequest(model="vectors", person="ada"),
}


@pytest.fixture
async def channel(repository: Path, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(repository, galleries=tmp_path) as server, open_channel(server) as channel:
        yield channel


def open_channel(server: ListeningServer) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.grpc_address)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A few bytes replaced near either end, where the structure is, added or cut off."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(min(len(data), 40) + 1)
        place = place if chance.random() < 0.5 else max(0, len(data) - 1 - place)
        data[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    if chance.random() < 0.3:
        del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


async def code_of(call: Awaitable[bytes]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def answers_of(call: grpc.aio.Call) -> tuple[grpc.StatusCode, list[bytes]]:
    """How a call with many answers ended, and what came before."""
    answers = []
    try:
        async for answer in call:
            answers.append(answer)
    except grpc.aio.AioRpcError as error:
        return error.code(), answers
    return grpc.StatusCode.OK, answers


def codes_in(answers: Sequence[bytes]) -> set[int]:
    return {pb.PredictResponse.FromString(answer).error.code for answer in answers}


@pytest.mark.parametrize("method", UNARY)
async def test_a_damaged_request_is_never_a_fault(channel: grpc.aio.Channel, method: str):
    chance, whole = random.Random(SEED), UNARY[method].SerializeToString()
    call = channel.unary_unary(f"/ocella.v1.{method}")
    refused = 0
    for _ in range(FUZZED):
        data = damaged(whole, chance)
        code = await code_of(call(data, timeout=PATIENCE_S))
        assert code in ALLOWED, (code, data[:80])
        refused += code is not grpc.StatusCode.OK
    assert refused
    await channel.unary_unary("/ocella.v1.Vision/Predict")(UNARY["Vision/Predict"].SerializeToString())


async def test_a_damaged_request_for_tiles_is_never_a_fault(channel: grpc.aio.Channel):
    chance, whole = random.Random(SEED), TILED.SerializeToString()
    call = channel.unary_stream("/ocella.v1.Vision/PredictTiles")
    codes = set()
    for _ in range(FUZZED):
        data = damaged(whole, chance)
        code, _ = await answers_of(call(data, timeout=PATIENCE_S))
        assert code in ALLOWED, (code, data[:80])
        codes.add(code)
    assert grpc.StatusCode.INVALID_ARGUMENT in codes


async def test_a_damaged_frame_of_a_stream_is_never_a_fault(channel: grpc.aio.Channel):
    chance, whole = random.Random(SEED), FRAME.SerializeToString()
    call = channel.stream_stream("/ocella.v1.Vision/PredictStream")
    allowed = {code.value[0] for code in ALLOWED}
    seen: set[int] = set()
    for _ in range(FUZZED // 4):
        frames = [damaged(whole, chance) if number else whole for number in range(4)]
        code, answers = await answers_of(call(iter(frames), timeout=PATIENCE_S))
        assert code in ALLOWED, code
        assert codes_in(answers) <= allowed
        seen |= codes_in(answers)
    assert grpc.StatusCode.INVALID_ARGUMENT.value[0] in seen
