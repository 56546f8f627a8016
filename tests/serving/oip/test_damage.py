"""Damaged requests to each method of the Open Inference Protocol: answered or refused, never a fault of the server."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import grpc.aio
import pytest

from protos.oip import infer_pb2 as pb
from protos.oip import service_pb2
from tests.packages import photo, png
from tests.serving.servers import PATIENCE_S, running_server

FUZZED = 30  # requests a method
SEED = 12
FAULTS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
UNARY = {method.name: method.input_type.name for method in SERVICE.methods if method.name != "ModelStreamInfer"}
GOLDEN = json.loads((Path(__file__).parents[2] / "protos" / "golden_oip.json").read_text())


def whole_of(kind: str) -> list[bytes]:
    """Requests of a kind as tritonclient writes them."""
    return [bytes.fromhex(golden["bytes"]) for golden in GOLDEN if golden["message"] == kind]


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A few bytes of it replaced, added or cut off; most in the head, where the structure is."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 5)):
        place = chance.randrange(min(len(data), 60) + 1)
        data[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 3))
    if chance.random() < 0.3:
        del data[chance.randrange(len(data) + 1) :]
    return bytes(data)


async def code_of(call: Awaitable[bytes]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture
async def channel(repository: Path) -> AsyncIterator[grpc.aio.Channel]:
    async with running_server(repository) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.mark.parametrize("method", UNARY)
async def test_a_damaged_request_is_never_a_fault(channel: grpc.aio.Channel, method: str):
    chance, wholes = random.Random(SEED), whole_of(UNARY[method])
    call = channel.unary_unary(f"/{SERVICE.full_name}/{method}")
    seen = set()
    for _ in range(FUZZED):
        data = damaged(chance.choice(wholes), chance)
        code = await code_of(call(data, timeout=PATIENCE_S))
        assert code not in FAULTS, (code, data[:80])
        seen.add(code)
    assert seen - {grpc.StatusCode.OK}
    assert await code_of(channel.unary_unary(f"/{SERVICE.full_name}/ServerLive")(b"")) is grpc.StatusCode.OK


async def test_a_damaged_request_in_a_stream_is_answered_in_band_or_ends_it_as_the_callers_mistake(
    channel: grpc.aio.Channel,
):
    asked = pb.ModelInferRequest(model_name="classes", id="7")
    asked.inputs.add(name="image", datatype="BYTES", shape=[1]).contents.bytes_contents.append(png(photo()))
    chance, whole = random.Random(SEED), asked.SerializeToString()
    call = channel.stream_stream(f"/{SERVICE.full_name}/ModelStreamInfer")
    errors = 0
    for _ in range(FUZZED // 3):
        code = grpc.StatusCode.OK
        try:
            async for answer in call(iter([whole, damaged(whole, chance)]), timeout=PATIENCE_S):
                message = pb.ModelStreamInferResponse.FromString(answer).error_message
                assert not message.startswith(tuple(fault.name for fault in FAULTS)), message
                errors += bool(message)
        except grpc.aio.AioRpcError as error:
            code = error.code()
        assert code not in FAULTS, code
    assert errors
