"""The client for ordinary code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Self, Unpack

from grpc_health.v1 import health_pb2

from pipelines.errors import OcellaError, ServiceUnavailableError, UnknownModelError
from pipelines.tile_options import DEFAULT_TILES, TileOptions
from protos.ocella.v1 import vision_pb2 as pb
from serving.client.channel import DEFAULT_SERVER, DEFAULT_STREAM_TIMEOUT_S, DEFAULT_TIMEOUT_S, OF_CLIENT, Timeout
from serving.client.connection import Connection
from serving.client.faces import FaceCalls
from serving.client.many import DEFAULT_CONCURRENCY, in_order
from serving.client.options import ONCE, connection_options
from serving.client.pace import Pace, ahead_of
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


class VisionClient(FaceCalls):
    """One connection to a server; a context manager that may be shared by threads.

    Every call has a deadline, and raises what the server refused with (see ``pipelines.errors``), or
    ServiceUnavailableError where no server answers, DeadlineExceededError where it does not answer in time.

    Example:
        >>> with VisionClient("127.0.0.1:8001") as client:
        ...     prediction = client.predict("centerface", Path("people.jpg"), score_threshold=0.6)
        ...     prediction.result.boxes
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
        self._connection = Connection(options, vision_stubs)

    def predict(
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
        request = write_request(model, image, options, version=version, id=id)
        response = self._connection.call(lambda stubs: stubs.vision.Predict, request, timeout_s=timeout_s)
        return read_prediction(response)

    def predict_stream(
        self,
        model: str,
        images: Iterable[Image],
        *,
        version: int = 0,
        window: int = 0,
        when_full: WhenFull = "block",
        timeout_s: float | None = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> Iterator[Prediction | OcellaError]:
        """Run a model on each image; yields in the order of the images, an error object for an image that failed.

        Args:
            model: name.
            images: taken at most twice the window ahead of the answers that were taken, so that a slow reader slows its
                source down; with ``drop_oldest`` as they come, as from a camera. What it raises ends the stream and is
                raised here, after the answers to the images before.
            version: 0 is the newest that is ready.
            window: images in work at once; 0 is the server's own value.
            when_full: an image that comes while the window is full waits (``block``), or the server drops the oldest
                that it has not begun (``drop_oldest``) and answers FrameDroppedError in its place.
            timeout_s: deadline of the whole stream.
            **options: of every image.
        """
        raised: list[BaseException] = []
        pace = Pace(None if check_when_full(when_full) else ahead_of(window))

        def requests() -> Iterator[pb.PredictRequest]:
            try:
                for image in pace.of(images):
                    request = write_request(model, image, options, version=version, window=window)
                    request.stream_options.when_full = WHEN_FULL[when_full]
                    yield request
            except Exception as error:  # noqa: BLE001, raised again once the answers are through
                raised.append(error)

        with (
            pace,
            self._connection.stream(lambda stubs: stubs.vision.PredictStream, requests(), timeout_s=timeout_s) as (
                call,
                request_id,
            ),
        ):
            for response in call:
                yield read_frame(response, request_id=request_id)
                pace.taken()
        if raised:
            raise raised[0]

    def predict_many(
        self,
        model: str,
        images: Iterable[Image],
        *,
        version: int = 0,
        concurrency: int = DEFAULT_CONCURRENCY,
        timeout_s: Timeout = OF_CLIENT,
        **options: Unpack[Options],
    ) -> Iterator[Prediction | OcellaError]:
        """Run a model on each image by calls of their own, each with its deadline, attempts and turn among the servers.

        Yields in the order of the images, an error object for an image that failed.

        Args:
            model: name.
            images: taken as answers are asked for. What it raises is raised here, after the answers to the images
                before.
            version: 0 is the newest that is ready.
            concurrency: calls at once, and most images ahead of the answer that was taken last.
            timeout_s: deadline of each call.
            **options: of every image.
        """

        def ask(image: Image) -> Prediction | OcellaError:
            try:
                return self.predict(model, image, version=version, timeout_s=timeout_s, **options)
            except OcellaError as error:
                return error

        for answer in in_order(ask, images, concurrency=concurrency):
            if isinstance(answer, OcellaError) and self._connection.is_closed:
                raise answer
            yield answer

    def predict_tiles(
        self,
        model: str,
        image: Image,
        tiles: TileOptions = DEFAULT_TILES,
        *,
        version: int = 0,
        id: str = "",
        timeout_s: float | None = DEFAULT_STREAM_TIMEOUT_S,
        **options: Unpack[Options],
    ) -> Iterator[TilePrediction]:
        """Run a model on a large image cut into overlapping tiles; yields each as it is answered, the merged one last.

        Leaving the iterator ends the work: no further tile is begun. Raises as ``predict``, and InvalidRequestError
        where the model cannot answer in tiles.
        """
        request = write_request(model, image, options, version=version, id=id)
        request.tile_options.CopyFrom(write_tile_options(tiles))
        with self._connection.stream(lambda stubs: stubs.vision.PredictTiles, request, timeout_s=timeout_s) as (
            call,
            _,
        ):
            for response in call:
                yield read_tile(response)

    def list_models(self, *, timeout_s: Timeout = OF_CLIENT) -> tuple[ModelStatus, ...]:
        """Every model version that the server knows, ready or not."""
        response = self._connection.call(
            lambda stubs: stubs.vision.ListModels, pb.ListModelsRequest(), timeout_s=timeout_s
        )
        return tuple(map(read_status, response.models))

    def describe_model(self, model: str, *, version: int = 0, timeout_s: Timeout = OF_CLIENT) -> ModelDescription:
        """The manifest of a ready model version, and how it is run."""
        request = pb.DescribeModelRequest(model=model, version=version)
        return read_description(
            self._connection.call(lambda stubs: stubs.vision.DescribeModel, request, timeout_s=timeout_s)
        )

    def is_ready(self, model: str = "", *, timeout_s: Timeout = OF_CLIENT) -> bool:
        """Whether a model, or the server where ``model`` is empty, answers now; raises UnknownModelError."""
        request = health_pb2.HealthCheckRequest(service=model)
        response = self._connection.call(lambda stubs: stubs.health.Check, request, timeout_s=timeout_s, retry=ONCE)
        return bool(response.status == SERVING)

    def wait_ready(self, model: str = "", *, timeout_s: Timeout = OF_CLIENT) -> None:
        """Return once a model, or the server where ``model`` is empty, answers, on each of the servers.

        They may still be starting.
        """
        request = health_pb2.HealthCheckRequest(service=model)
        deadline = self._connection.deadline(timeout_s)
        for index, server in enumerate(self._connection.options.servers):
            with self._connection.watch(lambda stubs: stubs.health.Watch, request, index, deadline) as call:
                for response in call:
                    if response.status == SERVING:
                        break
                    if response.status == SERVICE_UNKNOWN:
                        raise UnknownModelError(f"{server} knows no model called {model!r}")
                else:
                    raise ServiceUnavailableError(f"{server} is stopping")

    def close(self) -> None:
        """Close the connection; calls under way fail, and so do later ones, with ServiceUnavailableError."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
