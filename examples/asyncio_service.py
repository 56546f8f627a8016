"""A small web service of one's own in front of a vision server: counts what is on a picture that is posted to it.

uvicorn --factory examples.asyncio_service:service --port 8080
curl --data-binary @photo.jpg http://127.0.0.1:8080/count?model=centerface
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipelines.errors import (
    DeadlineExceededError,
    ImageDecodeError,
    ImageTooLargeError,
    InvalidRequestError,
    OcellaError,
    OverloadedError,
    UnknownModelError,
)
from pipelines.types import Detections
from serving.client import AsyncVisionClient
from serving.client.channel import DEFAULT_SERVER

STATUS: Mapping[type[OcellaError], int] = {
    DeadlineExceededError: 504,
    ImageDecodeError: 400,
    ImageTooLargeError: 413,
    InvalidRequestError: 400,
    OverloadedError: 429,
    UnknownModelError: 404,
}
ELSE = 503


def service(server: str | None = None) -> Starlette:
    """The application; ``server`` is the vision server's address, else what VISION_SERVER says."""
    address = server or os.environ.get("VISION_SERVER", DEFAULT_SERVER)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # One client for the whole life of the service: its connection is shared by all requests, and closed at the end.
        async with AsyncVisionClient(address, timeout_s=5.0) as client:
            app.state.vision = client
            yield

    routes = [
        Route("/count", count, methods=["POST"]),
        Route("/healthz", alive),
        Route("/readyz", ready),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={OcellaError: refused})


async def count(request: Request) -> Response:
    """How many objects of each label are on the picture in the request's body."""
    vision: AsyncVisionClient = request.app.state.vision
    prediction = await vision.predict(request.query_params.get("model", ""), await request.body())
    if not isinstance(prediction.result, Detections):
        raise InvalidRequestError(f"model must find objects, {prediction.model} does not")
    found = prediction.result
    return JSONResponse(Counter(found.labels or map(str, found.class_ids)))


async def alive(request: Request) -> Response:
    """Whether this process runs: no reason to restart it while the vision server is away."""
    return JSONResponse({"alive": True})


async def ready(request: Request) -> Response:
    """Whether requests would be answered now."""
    vision: AsyncVisionClient = request.app.state.vision
    is_ready = await vision.is_ready(timeout_s=1.0)
    return JSONResponse({"ready": is_ready}, status_code=200 if is_ready else ELSE)


async def refused(request: Request, error: Exception) -> Response:
    """What went wrong, by name, with the status that it has in HTTP."""
    headers = {"Retry-After": f"{error.retry_after_s:.0f}"} if isinstance(error, OverloadedError) else {}
    body = {"error": type(error).__name__, "message": str(error)}
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), ELSE)
    return JSONResponse(body, status_code=status, headers=headers)
