"""The client for asyncio code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Self, Unpack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipelines.errors import OcellaError, ServiceUnavailableError, UnknownModelError
from protos.ocella.v1 import vision_pb2 as pb
from protos.ocella.v1.vision_pb2_grpc import VisionStub
from serving.client.channel import (
    CHANNEL_OPTIONS,
    DEFAULT_SERVER,
    DEFAULT_STREAM_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
    check_address,
    check_timeout,
)
from serving.client.errors import error_of_call, error_of_frame
from serving.client.results import Image, ModelDescription, ModelStatus, Options, Prediction
from serving.client.wire import read_description, read_prediction, read_status, write_request

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class AsyncVisionClient:
    """One connection to a server, made inside a running event loop; an async context manager.

    Deadlines and errors are those of ``VisionClient``. Images are taken from an ordinary iterable, read and written
    as PNG, and masks are decoded, on threads, never on the event loop.

    Example:
        >>> async with AsyncVisionClient("127.0.0.1:8001") as client:
        ...     async for answer in client.predict_stream("centerface", frames):
        ...         print(answer)
    """

    def __init__(self, server: str = DEFAULT_SERVER, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """``server`` is ``host:port``; ``timeout_s`` is the deadline of calls that do not give their own."""
        self.server = check_address(server)
        self._timeout_s = check_timeout(timeout_s)
        self._closed = False
        self._channel = grpc.aio.insecure_channel(server, options=CHANNEL_OPTIONS)
        self._vision = VisionStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def predict(
        self,
        model: str,
        image: Image,
        *,
        version: int = 0,
        id: str = "",
        timeout_s: float | None = None,
        **options: Unpack[Options],
    ) -> Prediction:
        """Run a model on one image: encoded bytes, a path, or RGB ``(H, W, 3)`` uint8 (sent as PNG, lossless).

        ``id`` is the caller's own name of the request; the prediction carries it.
        """
        request = await _write(model, image, options, version=version, id=id)
        with self._named_errors():
            response = await self._vision.Predict(request, timeout=self._timeout(timeout_s))
        return await _read(response)

    async def predict_stream(
        self,
        model: str,
        images: Iterable[Image] | AsyncIterable[Image],
        *,
        version: int = 0,
        window: int = 0,
        timeout_s: float = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> AsyncIterator[Prediction | OcellaError]:
        """Run a model on each image; as ``VisionClient.predict_stream``, and ``images`` may be asynchronous."""
        raised: list[BaseException] = []

        async def requests() -> AsyncIterator[pb.PredictRequest]:
            try:
                async for image in _iterate(images):
                    yield await _write(model, image, options, version=version, window=window)
            except Exception as error:  # noqa: BLE001, raised again once the answers are through
                raised.append(error)

        call = self._vision.PredictStream(requests(), timeout=self._timeout(timeout_s))
        try:
            with self._named_errors():
                async for response in call:
                    failed = response.HasField("error")
                    yield error_of_frame(response.error) if failed else await _read(response)
        finally:
            call.cancel()
        if raised:
            raise raised[0]

    async def list_models(self, *, timeout_s: float | None = None) -> tuple[ModelStatus, ...]:
        """Every model version that the server knows, ready or not."""
        with self._named_errors():
            response = await self._vision.ListModels(pb.ListModelsRequest(), timeout=self._timeout(timeout_s))
        return tuple(map(read_status, response.models))

    async def describe_model(self, model: str, *, version: int = 0, timeout_s: float | None = None) -> ModelDescription:
        """The manifest of a ready model version, and how it is run."""
        request = pb.DescribeModelRequest(model=model, version=version)
        with self._named_errors():
            return read_description(await self._vision.DescribeModel(request, timeout=self._timeout(timeout_s)))

    async def is_ready(self, model: str = "", *, timeout_s: float | None = None) -> bool:
        """Whether a model, or the server where ``model`` is empty, answers now; raises UnknownModelError."""
        request = health_pb2.HealthCheckRequest(service=model)
        with self._named_errors():
            response = await self._health.Check(request, timeout=self._timeout(timeout_s))
        return bool(response.status == SERVING)

    async def wait_ready(self, model: str = "", *, timeout_s: float | None = None) -> None:
        """Return once a model, or the server where ``model`` is empty, answers; the server may still be starting."""
        request = health_pb2.HealthCheckRequest(service=model)
        call = self._health.Watch(request, timeout=self._timeout(timeout_s), wait_for_ready=True)
        try:
            with self._named_errors():
                async for response in call:
                    if response.status == SERVING:
                        return
                    if response.status == SERVICE_UNKNOWN:
                        raise UnknownModelError(f"{self.server} knows no model called {model!r}")
        finally:
            call.cancel()
        raise ServiceUnavailableError(f"{self.server} is stopping")

    async def close(self) -> None:
        """Close the connection; calls under way fail, and so do later ones, with ServiceUnavailableError."""
        self._closed = True
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _timeout(self, timeout_s: float | None) -> float:
        """The deadline of a call that is about to start; raises where none can."""
        if self._closed:
            raise ServiceUnavailableError(f"the client of {self.server} is closed")
        return self._timeout_s if timeout_s is None else check_timeout(timeout_s)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise error_of_call(error, self.server) from error


async def _write(
    model: str, image: Image, options: Options, *, version: int = 0, window: int = 0, id: str = ""
) -> pb.PredictRequest:
    if isinstance(image, bytes):
        return write_request(model, image, options, version=version, window=window, id=id)
    return await asyncio.to_thread(write_request, model, image, options, version=version, window=window, id=id)


async def _read(response: pb.PredictResponse) -> Prediction:
    if response.HasField("segmentation"):
        return await asyncio.to_thread(read_prediction, response)
    return read_prediction(response)


async def _iterate(images: Iterable[Image] | AsyncIterable[Image]) -> AsyncIterator[Image]:
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield image
    else:
        source = iter(images)
        while taken := await asyncio.to_thread(list, islice(source, 1)):
            yield taken[0]
