"""The client for ordinary code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self, Unpack

import grpc
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


class VisionClient:
    """One connection to a server; a context manager that may be shared by threads.

    Every call has a deadline, and raises what the server refused with (see ``pipelines.errors``), or
    ServiceUnavailableError where no server answers, DeadlineExceededError where it does not answer in time.

    Example:
        >>> with VisionClient("127.0.0.1:8001") as client:
        ...     prediction = client.predict("centerface", Path("people.jpg"), score_threshold=0.6)
        ...     prediction.result.boxes
    """

    def __init__(self, server: str = DEFAULT_SERVER, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """``server`` is ``host:port``; ``timeout_s`` is the deadline of calls that do not give their own."""
        self.server = check_address(server)
        self._timeout_s = check_timeout(timeout_s)
        self._closed = False
        self._channel = grpc.insecure_channel(server, options=CHANNEL_OPTIONS)
        self._vision = VisionStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    def predict(
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
        request = write_request(model, image, options, version=version, id=id)
        with self._named_errors():
            response = self._vision.Predict(request, timeout=self._timeout(timeout_s))
        return read_prediction(response)

    def predict_stream(
        self,
        model: str,
        images: Iterable[Image],
        *,
        version: int = 0,
        window: int = 0,
        timeout_s: float = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> Iterator[Prediction | OcellaError]:
        """Run a model on each image; yields in the order of the images, an error object for an image that failed.

        Args:
            model: name.
            images: taken as the server takes them. What it raises ends the stream and is raised here, after the
                answers to the images before.
            version: 0 is the newest that is ready.
            window: images in work at once; 0 is the server's own value.
            timeout_s: deadline of the whole stream.
            **options: of every image.
        """
        raised: list[BaseException] = []

        def requests() -> Iterator[pb.PredictRequest]:
            try:
                for image in images:
                    yield write_request(model, image, options, version=version, window=window)
            except Exception as error:  # noqa: BLE001, raised again once the answers are through
                raised.append(error)

        call = self._vision.PredictStream(requests(), timeout=self._timeout(timeout_s))
        try:
            with self._named_errors():
                for response in call:
                    failed = response.HasField("error")
                    yield error_of_frame(response.error) if failed else read_prediction(response)
        finally:
            call.cancel()
        if raised:
            raise raised[0]

    def list_models(self, *, timeout_s: float | None = None) -> tuple[ModelStatus, ...]:
        """Every model version that the server knows, ready or not."""
        with self._named_errors():
            response = self._vision.ListModels(pb.ListModelsRequest(), timeout=self._timeout(timeout_s))
        return tuple(map(read_status, response.models))

    def describe_model(self, model: str, *, version: int = 0, timeout_s: float | None = None) -> ModelDescription:
        """The manifest of a ready model version, and how it is run."""
        request = pb.DescribeModelRequest(model=model, version=version)
        with self._named_errors():
            return read_description(self._vision.DescribeModel(request, timeout=self._timeout(timeout_s)))

    def is_ready(self, model: str = "", *, timeout_s: float | None = None) -> bool:
        """Whether a model, or the server where ``model`` is empty, answers now; raises UnknownModelError."""
        request = health_pb2.HealthCheckRequest(service=model)
        with self._named_errors():
            return bool(self._health.Check(request, timeout=self._timeout(timeout_s)).status == SERVING)

    def wait_ready(self, model: str = "", *, timeout_s: float | None = None) -> None:
        """Return once a model, or the server where ``model`` is empty, answers; the server may still be starting."""
        request = health_pb2.HealthCheckRequest(service=model)
        call = self._health.Watch(request, timeout=self._timeout(timeout_s), wait_for_ready=True)
        try:
            with self._named_errors():
                for response in call:
                    if response.status == SERVING:
                        return
                    if response.status == SERVICE_UNKNOWN:
                        raise UnknownModelError(f"{self.server} knows no model called {model!r}")
        finally:
            call.cancel()
        raise ServiceUnavailableError(f"{self.server} is stopping")

    def close(self) -> None:
        """Close the connection; calls under way fail, and so do later ones, with ServiceUnavailableError."""
        self._closed = True
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
