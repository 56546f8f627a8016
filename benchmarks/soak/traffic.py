"""What the clients of the soak do: each kind of request on each API, good and bad, waited for and left."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
import httpx

from benchmarks.soak.models import CLASSIFIER, DETECTOR, EMBEDDER
from benchmarks.soak.outcome import BUSY, CANCELLED, LATE, OK, Outcome, code_of
from pipelines.errors import OcellaError
from protos.oip import infer_pb2
from protos.oip.service_pb2_grpc import GRPCInferenceServiceStub
from serving.client import AsyncVisionClient, carrying

PATIENCE_S = 60.0
# Rows at once, below the length of a queue and above what fills two runs of eight rows; and how often.
_FILL_ROWS, _FILLS = 96, 3
BAD_IMAGE = b"no image"
UNKNOWN = "no-such-model"
_REFUSED, _MISSING = frozenset({"INVALID_ARGUMENT"}), frozenset({"NOT_FOUND"})
_FINE = frozenset({OK})
_LEFT = frozenset({OK, CANCELLED, LATE})
_HURRIED = _LEFT | {BUSY}  # refused at once, where what runs already takes longer than the deadline allows
Kind: TypeAlias = Callable[["Clients", str], Awaitable[Outcome]]


@dataclass(frozen=True)
class Clients:
    """One client of each API, and what they send; failed calls are never tried again, so that each is one request."""

    vision: AsyncVisionClient
    oip: Any
    http: httpx.AsyncClient
    images: Sequence[bytes]
    random: random.Random

    @property
    def image(self) -> bytes:
        """One of the images."""
        return self.random.choice(self.images)

    @property
    def model(self) -> str:
        """One of the models, the slow one seldom."""
        return self.random.choices((CLASSIFIER, EMBEDDER, DETECTOR), (10, 10, 1))[0]


def _predicting(model: str | None, allowed: frozenset[str], *, image: bytes | None = None) -> Kind:
    async def ask(clients: Clients, request_id: str) -> Outcome:
        try:
            await clients.vision.predict(model or clients.model, clients.image if image is None else image)
        except OcellaError as error:
            return Outcome(
                request_id=request_id, method="Predict", code=code_of(error), allowed=allowed, words=str(error)
            )
        return Outcome(request_id=request_id, method="Predict", code=OK, allowed=allowed)

    return ask


def _inferring(model: str | None, allowed: frozenset[str], *, image: bytes | None = None) -> Kind:
    async def ask(clients: Clients, request_id: str) -> Outcome:
        data = clients.image if image is None else image
        tensor = infer_pb2.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(data)
        request = infer_pb2.ModelInferRequest(model_name=model or clients.model, inputs=[tensor])
        code, words = OK, ""
        try:
            await clients.oip.ModelInfer(request, metadata=(("x-request-id", request_id),), timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            code, words = error.code().name, error.details() or ""
        return Outcome(request_id=request_id, method="ModelInfer", code=code, allowed=allowed, words=words)

    return ask


def _posting(model: str | None, allowed: frozenset[str], *, image: bytes | None = None) -> Kind:
    async def ask(clients: Clients, request_id: str) -> Outcome:
        path = f"/v1/models/{model or clients.model}:predict"
        content = clients.image if image is None else image
        answer = await clients.http.post(path, content=content, headers={"x-request-id": request_id})
        told = answer.json()
        code = OK if answer.status_code == httpx.codes.OK else told["code"]
        words = told.get("message", "")
        return Outcome(request_id=request_id, method="v1.predict", code=code, allowed=allowed, words=words)

    return ask


async def _leaving(clients: Clients, request_id: str) -> Outcome:
    """Ask, and go away after a moment."""
    asked = asyncio.ensure_future(clients.vision.predict(clients.model, clients.image))
    await asyncio.wait((asked,), timeout=clients.random.uniform(0, 0.02))
    asked.cancel()
    code, words = OK, ""
    try:
        await asked
    except asyncio.CancelledError:
        code = CANCELLED
    except OcellaError as error:
        code, words = code_of(error), str(error)
    return Outcome(request_id=request_id, method="Predict", code=code, allowed=_LEFT, words=words)


async def _hurrying(clients: Clients, request_id: str) -> Outcome:
    """Ask for an answer within a time that is often too short."""
    code, words = OK, ""
    try:
        await clients.vision.predict(clients.model, clients.image, timeout_s=clients.random.uniform(0.001, 0.03))
    except OcellaError as error:
        code, words = code_of(error), str(error)
    return Outcome(request_id=request_id, method="Predict", code=code, allowed=_HURRIED, words=words)


def _streaming(*, read: int) -> Kind:
    """A stream of eight images, two of them bad, of which ``read`` answers are taken."""

    async def ask(clients: Clients, request_id: str) -> Outcome:
        images = [clients.image for _ in range(6)]
        images[2:2] = [BAD_IMAGE] * 2
        frames: Counter[str] = Counter()
        code, words = OK, ""
        try:
            stream: Any = clients.vision.predict_stream(clients.model, images)
            async with aclosing(stream) as answers:
                async for answer in answers:
                    frames[code_of(answer) if isinstance(answer, OcellaError) else OK] += 1
                    if frames.total() == read < len(images):  # all of them: it ends by itself
                        break
        except OcellaError as error:
            code, words = code_of(error), str(error)
        left = read < len(images)
        return Outcome(
            request_id=request_id,
            method="PredictStream",
            code=CANCELLED if left and code == OK else code,
            allowed=_LEFT if left else _FINE,
            frames={} if left else frames,
            words=words,
        )

    return ask


async def _listing(clients: Clients, request_id: str) -> Outcome:
    await clients.vision.list_models()
    return Outcome(request_id=request_id, method="ListModels", code=OK, allowed=_FINE)


# By how often each is done.
KINDS: Sequence[tuple[Kind, int]] = (
    (_predicting(None, _FINE), 30),
    (_inferring(None, _FINE), 15),
    (_posting(None, _FINE), 15),
    (_predicting(CLASSIFIER, _REFUSED, image=BAD_IMAGE), 6),
    (_inferring(CLASSIFIER, _REFUSED, image=BAD_IMAGE), 4),
    (_posting(CLASSIFIER, _REFUSED, image=BAD_IMAGE), 4),
    (_predicting(UNKNOWN, _MISSING), 3),
    (_inferring(UNKNOWN, _MISSING), 3),
    (_posting(UNKNOWN, _MISSING), 3),
    (_leaving, 6),
    (_hurrying, 6),
    (_streaming(read=8), 3),
    (_streaming(read=2), 2),
    (_listing, 2),
)


async def fill(clients: Clients) -> list[Outcome]:
    """Let each model alone and then all together run their largest batches, as mixed traffic does by chance and late.

    An arena of onnxruntime grows to the largest runs that were ever under way at once, and keeps that; whoever began to
    measure before would call it a leak.
    """
    numbers, outcomes = itertools.count(1), list[Outcome]()

    async def ask(model: str) -> None:
        request_id = f"soak-fill-{next(numbers)}"
        with carrying(request_id=request_id):
            outcomes.append(await _predicting(model, _FINE)(clients, request_id))

    models = (CLASSIFIER, EMBEDDER, DETECTOR)
    for together in (*((model,) for model in models), models) * _FILLS:
        async with asyncio.TaskGroup() as tasks:
            for model in together:
                for _ in range(_FILL_ROWS // len(together)):
                    tasks.create_task(ask(model))
    return outcomes


async def drive(clients: Clients, *, workers: int, stop: asyncio.Event) -> list[Outcome]:
    """Let ``workers`` ask one thing after the other until ``stop``; what they were answered."""
    numbers, outcomes = itertools.count(1), list[Outcome]()
    kinds, weights = zip(*KINDS, strict=True)

    async def work() -> None:
        while not stop.is_set():
            request_id = f"soak-{next(numbers)}"
            (kind,) = clients.random.choices(kinds, weights)
            with carrying(request_id=request_id):
                outcomes.append(await kind(clients, request_id))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(workers):
            tasks.create_task(work())
    return outcomes


def oip_stub(channel: Any) -> Any:
    """The Open Inference Protocol on a channel."""
    return GRPCInferenceServiceStub(channel)
