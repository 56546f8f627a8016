"""The client for asyncio code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Self, TypeVar, Unpack

from grpc_health.v1 import health_pb2

from pipelines.errors import OcellaError, ServiceUnavailableError, UnknownModelError
from pipelines.tile_options import DEFAULT_TILES, TileOptions
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.aio_connection import AsyncConnection
from serving.client.channel import DEFAULT_SERVER, DEFAULT_STREAM_TIMEOUT_S, DEFAULT_TIMEOUT_S, OF_CLIENT, Timeout
from serving.client.faces import AsyncFaceCalls
from serving.client.many import DEFAULT_CONCURRENCY, in_order_async
from serving.client.options import ONCE, connection_options
from serving.client.pace import ahead_of
from serving.client.results import (
    Image,
    ModelDescription,
    ModelStatus,
    Options,
    Prediction,
    TilePrediction,
    WhenFull,
)
from serving.client.retry import DEFAULT_RETRY, Retry
from serving.client.stubs import SERVICE_UNKNOWN, SERVING, vision_stubs
from serving.client.tls import Tls
from serving.client.wire import read_description, read_prediction, read_status, write_request
from serving.client.wire_tiles import WHEN_FULL, check_when_full, read_frame, read_tile, write_tile_options

T = TypeVar("T")


class AsyncVisionClient(AsyncFaceCalls):
    """One connection to a server, made inside a running event loop; an async context manager.

    Deadlines and errors are those of ``VisionClient``. Images are taken from an ordinary iterable, read and written
    as PNG, and masks are decoded, on threads, never on the event loop.

    Example:
        >>> async with AsyncVisionClient("127.0.0.1:8001") as client:
        ...     async for answer in client.predict_stream("centerface", frames):
        ...         print(answer)
    """

    def __init__(
        self,
        server: str | Sequence[str] = DEFAULT_SERVER,
        *,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        retry: Retry | None = DEFAULT_RETRY,
        tls: Tls | None = None,
        token: str | None = None,
        allow_insecure_token: bool = False,
    ) -> None:
        """Make a client; nothing is connected before the first call.

        Args:
            server: ``host:port``, or several servers of the same models, which are asked in turn.
            timeout_s: deadline of calls that do not give their own, with all attempts; ``None``: none.
            retry: which failed calls are made again; ``None``: none.
            tls: how the connection is encrypted; ``None``: not at all.
            token: sent with every call, as bearer of which the server knows us.
            allow_insecure_token: send the token unencrypted to other machines, too.

        Raises:
            InvalidRequestError: an argument is not as said.
        """
        options = connection_options(
            server, timeout_s=timeout_s, retry=retry, tls=tls, token=token, allow_insecure_token=allow_insecure_token
        )
        self.server = options.name
        self._connection = AsyncConnection(options, vision_stubs)

    async def predict(
        self,
        model: str,
        image: Image,
        *,
        version: int = 0,
        id: str = "",
        timeout_s: Timeout = OF_CLIENT,
        **options: Unpack[Options],
    ) -> Prediction:
        """Run a model on one image: encoded bytes, a path, or RGB ``(H, W, 3)`` uint8 (sent as PNG, lossless).

        ``id`` is the caller's own name of the request; the prediction carries it.
        """
        request = await _write(model, image, options, version=version, id=id)
        response = await self._connection.call(lambda stubs: stubs.vision.Predict, request, timeout_s=timeout_s)
        return await _read(response, read_prediction)

    async def predict_stream(
        self,
        model: str,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        version: int = 0,
        window: int = 0,
        when_full: WhenFull = "block",
        timeout_s: float | None = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> AsyncIterator[Prediction | OcellaError]:
        """Run a model on each image; as ``VisionClient.predict_stream``, and ``images`` may be asynchronous."""
        raised: list[BaseException] = []
        room = None if check_when_full(when_full) else asyncio.Semaphore(ahead_of(window))

        async def requests() -> AsyncIterator[pb.PredictRequest]:
            try:
                async for image in _iterate(images):
                    request = await _write(model, image, options, version=version, window=window)
                    request.stream_options.when_full = WHEN_FULL[when_full]
                    yield request
                    if room:
                        await room.acquire()  # before the next image is taken
            except Exception as error:  # noqa: BLE001, raised again once the answers are through
                raised.append(error)

        async with self._connection.stream(
            lambda stubs: stubs.vision.PredictStream, requests(), timeout_s=timeout_s
        ) as (call, request_id):
            async for response in call:
                yield await _read(response, partial(read_frame, request_id=request_id))
                if room:
                    room.release()
        if raised:
            raise raised[0]

    async def predict_many(
        self,
        model: str,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        version: int = 0,
        concurrency: int = DEFAULT_CONCURRENCY,
        timeout_s: Timeout = OF_CLIENT,
        **options: Unpack[Options],
    ) -> AsyncIterator[Prediction | OcellaError]:
        """Run a model on each image by calls of their own; as ``VisionClient.predict_many``.

        Calls under way are cancelled where the iteration is left.
        """

        async def ask(image: Image) -> Prediction | OcellaError:
            try:
                return await self.predict(model, image, version=version, timeout_s=timeout_s, **options)
            except OcellaError as error:
                return error

        async for answer in in_order_async(ask, _iterate(images), concurrency=concurrency):
            if isinstance(answer, OcellaError) and self._connection.is_closed:
                raise answer
            yield answer

    async def predict_tiles(
        self,
        model: str,
        image: Image,
        tiles: TileOptions = DEFAULT_TILES,
        *,
        version: int = 0,
        id: str = "",
        timeout_s: float | None = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> AsyncIterator[TilePrediction]:
        """Run a model on a large image in tiles, as ``VisionClient.predict_tiles``."""
        request = await _write(model, image, options, version=version, id=id)
        request.tile_options.CopyFrom(write_tile_options(tiles))
        async with self._connection.stream(lambda stubs: stubs.vision.PredictTiles, request, timeout_s=timeout_s) as (
            call,
            _,
        ):
            async for response in call:
                yield await asyncio.to_thread(read_tile, response)

    async def list_models(self, *, timeout_s: Timeout = OF_CLIENT) -> tuple[ModelStatus, ...]:
        """Every model version that the server knows, ready or not."""
        response = await self._connection.call(
            lambda stubs: stubs.vision.ListModels, pb.ListModelsRequest(), timeout_s=timeout_s
        )
        return tuple(map(read_status, response.models))

    async def describe_model(self, model: str, *, version: int = 0, timeout_s: Timeout = OF_CLIENT) -> ModelDescription:
        """The manifest of a ready model version, and how it is run."""
        request = pb.DescribeModelRequest(model=model, version=version)
        return read_description(
            await self._connection.call(lambda stubs: stubs.vision.DescribeModel, request, timeout_s=timeout_s)
        )

    async def is_ready(self, model: str = "", *, timeout_s: Timeout = OF_CLIENT) -> bool:
        """Whether a model, or the server where ``model`` is empty, answers now; raises UnknownModelError."""
        request = health_pb2.HealthCheckRequest(service=model)
        response = await self._connection.call(
            lambda stubs: stubs.health.Check, request, timeout_s=timeout_s, retry=ONCE
        )
        return bool(response.status == SERVING)

    async def wait_ready(self, model: str = "", *, timeout_s: Timeout = OF_CLIENT) -> None:
        """Return once a model, or the server where ``model`` is empty, answers, on each of the servers.

        They may still be starting.
        """
        request = health_pb2.HealthCheckRequest(service=model)
        deadline = self._connection.deadline(timeout_s)
        for index, server in enumerate(self._connection.options.servers):
            async with self._connection.watch(lambda stubs: stubs.health.Watch, request, index, deadline) as call:
                async for response in call:
                    if response.status == SERVING:
                        break
                    if response.status == SERVICE_UNKNOWN:
                        raise UnknownModelError(f"{server} knows no model called {model!r}")
                else:
                    raise ServiceUnavailableError(f"{server} is stopping")

    async def close(self) -> None:
        """Close the connection; calls under way fail, and so do later ones, with ServiceUnavailableError."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _write(
    model: str, image: Image, options: Options, *, version: int = 0, window: int = 0, id: str = ""
) -> pb.PredictRequest:
    if isinstance(image, bytes):
        return write_request(model, image, options, version=version, window=window, id=id)
    return await asyncio.to_thread(write_request, model, image, options, version=version, window=window, id=id)


async def _read(response: pb.PredictResponse, read: Callable[[pb.PredictResponse], T]) -> T:
    return await asyncio.to_thread(read, response) if response.HasField("segmentation") else read(response)


async def _iterate(images: Iterable[Image] | AsyncIterable[Image]) -> AsyncIterator[Image]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        source = iter(images)
        while taken := await asyncio.to_thread(list, islice(source, 1)):
            yield taken[0]
