"""A model on a server, asked over gRPC with bounded concurrency; a server that goes away is waited for."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import grpc

from pipelines.errors import (
    DeadlineExceededError,
    DrainingError,
    ImageTooLargeError,
    ModelNotReadyError,
    NotAllowedError,
    OcellaError,
    OverloadedError,
    ServiceUnavailableError,
    UnauthenticatedError,
    UnknownModelError,
)
from pipelines.image import decode_image
from pipelines.manifest import parse_manifest
from pipelines.options import PredictOptions
from pipelines.specs import ImageSpec
from pipelines.types import ByteArray
from serving.batch.engine import Engine, Finish
from serving.batch.errors import JobError
from serving.batch.identity import digest_of
from serving.client import AsyncVisionClient, ModelDescription, Prediction
from serving.client.environment import credentials_from_environment

T = TypeVar("T")
REFUSED = (UnknownModelError, UnauthenticatedError, NotAllowedError)
"""What no image causes and no waiting ends."""
AWAY = (ServiceUnavailableError, DrainingError, ModelNotReadyError)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
MOST_TIMEOUTS = 3


class RemoteEngine:
    """A server's model; see ``Engine``. Only the package that the job began with is asked."""

    def __init__(
        self,
        client: AsyncVisionClient,
        described: ModelDescription,
        options: PredictOptions,
        *,
        concurrency: int,
        patience_s: float,
    ) -> None:
        """``patience_s``: how long a server that does not answer is tried again."""
        manifest = parse_manifest(json.loads(described.manifest_json), where=f"{described.model} on {client.server}")
        options.check_for(manifest.head.task)
        self.model, self.version = described.model, described.version
        self.task: str = manifest.head.task
        self.manifest_json, self.concurrency = described.manifest_json, concurrency
        self.labels: tuple[str, ...] = getattr(manifest, "labels", ())  # a cascade has none of its own
        self._image: ImageSpec | None = getattr(manifest, "image", None)
        self.package: Path | None = None  # it runs elsewhere
        self._client = client
        self._options = asdict(options)
        self._patience_s = patience_s

    async def answer(self, data: bytes, finish: Finish[T]) -> T:
        """Run the model on one encoded image, again and again while the server is away or has no room."""
        prediction = await self._patiently(lambda: self._predict(data))
        spent = prediction.timings
        seconds = spent.decode_s + spent.preprocess_s + spent.inference_s + spent.postprocess_s if spent else 0.0
        return await asyncio.to_thread(finish, prediction.result, prediction.image_hw, seconds)

    def decode(self, data: bytes) -> ByteArray:
        """The pixels that results refer to."""
        spec = self._image
        if spec is None:
            return decode_image(data, exif="apply", alpha="white")
        return decode_image(data, exif=spec.exif, alpha=spec.alpha)

    async def _predict(self, data: bytes) -> Prediction:
        try:
            return await self._client.predict(self.model, data, version=self.version, timings=True, **self._options)
        except ImageTooLargeError as error:
            refusal = error.__context__
            if not isinstance(refusal, grpc.RpcError) or refusal.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise  # the model's server said so itself
            raise ImageTooLargeError(f"image has {len(data):,} bytes, too many for a message to the server") from error

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, for ``patience_s`` from the first refusal; each pause is twice the last."""
        pause_s, timeouts, since, was_away = FIRST_PAUSE_S, 0, None, False
        while True:
            try:
                if was_away:
                    await self._check_same_package()
                return await ask()
            except DeadlineExceededError:
                timeouts += 1
                if timeouts == MOST_TIMEOUTS:
                    raise
                continue
            except REFUSED as error:
                raise JobError(str(error)) from error
            except (*AWAY, OverloadedError) as error:
                was_away = not isinstance(error, OverloadedError)
                since = since or time.monotonic()
                if time.monotonic() - since + pause_s > self._patience_s:
                    raise JobError(
                        f"{self._client.server} must answer within {self._patience_s:g} s, it did not: {error}"
                    ) from error
            await sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _check_same_package(self) -> None:
        """Raise JobError where the server came back with another package of the same name and version."""
        described = await self._client.describe_model(self.model, version=self.version)
        if digest_of(described.manifest_json) != digest_of(self.manifest_json):
            raise JobError(
                f"{self._client.server} must serve the package that the job began with, "
                f"its {self.model} {self.version} is another one now"
            )


@asynccontextmanager
async def remote_engine(
    server: str,
    model: str,
    options: PredictOptions,
    *,
    version: int = 0,
    concurrency: int,
    patience_s: float,
    timeout_s: float,
) -> AsyncIterator[Engine]:
    """Connect to a server; ``version`` 0 is the newest that is ready now, and stays the one asked."""
    async with AsyncVisionClient(server, timeout_s=timeout_s, **credentials_from_environment()) as client:
        try:
            described = await client.describe_model(model, version=version)
        except OcellaError as error:
            raise JobError(str(error)) from error
        yield RemoteEngine(client, described, options, concurrency=concurrency, patience_s=patience_s)
