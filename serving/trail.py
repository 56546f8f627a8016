"""What is known of one request while it is answered: who asked, under which id and trace, how its time was spent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.request_id import REQUEST_ID, fresh_id

if TYPE_CHECKING:
    from serving.status import Failure
    from serving.tracing.context import TraceContext

# In the order of the work. Their sum is the time on the data plane; what is left of the total is the transport's.
STAGES = ("decode", "preprocess", "queue", "inference", "postprocess", "serialize")
_QUEUE, _INFERENCE = STAGES.index("queue"), STAGES.index("inference")


@dataclass(slots=True)
class Frames:
    """What became of the requests of one stream so far; it grows with the stream.

    Attributes:
        codes: answers by the name of their gRPC code.
        dropped: requests that were dropped for newer ones.
    """

    codes: Counter[str] = field(default_factory=Counter)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One call as its transport sees it; a stream is one call of many requests.

    Attributes:
        api: ``grpc`` (``ocella.v1``), ``oip`` (Open Inference Protocol over gRPC) or ``http``.
        peer: the connection, as gRPC writes it, such as ``ipv4:127.0.0.1:50000``.
        request_id: the caller's own, or a fresh one.
        trace: the place in its trace; ``None`` where it has none.
        stream: the stream as a whole, for the requests inside of it.
        route: of HTTP, the verb and the path with its parameters' names; empty until it is known.
        caller: the name of the caller's token; empty without one, and until it is known.
    """

    api: str
    peer: str
    request_id: str
    trace: TraceContext | None = None
    stream: Trail | None = None
    route: str = ""
    caller: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the caller is told in the metadata, or in the headers, of its answer."""
        own = ((REQUEST_ID, self.request_id),)
        return own + self.trace.headers if self.trace else own


class Trail:
    """One request, or one stream as a whole; written on the event loop alone, read by sinks once it has ended.

    Attributes:
        arrival: the call that brought it.
        method: bounded name of what was asked for.
        model: as the request names it; empty where it names none.
        version: of the model that was found; empty where none was.
        began: seconds since 1970.
        start: monotonic seconds.
        bytes_in: of the encoded image, of the whole message, or of the body, as the API has them.
        images: that got a result.
        image_hw: size of the latest of them.
        stages: seconds, in the order of ``STAGES``, in sum over all images; empty where no image got that far.
        code: name of the gRPC code that it ended with.
        failure: what the caller was told instead of an answer.
        total_s: from arrival to outcome.
        frames: of a stream as a whole.
    """

    __slots__ = (
        "arrival",
        "began",
        "bytes_in",
        "code",
        "failure",
        "frames",
        "image_hw",
        "images",
        "method",
        "model",
        "stages",
        "start",
        "total_s",
        "version",
    )

    def __init__(self, arrival: Arrival, method: str, model: str = "", version: str = "") -> None:
        self.arrival, self.method, self.model, self.version = arrival, method, model, version
        self.began, self.start = time.time(), time.monotonic()
        self.bytes_in = self.images = 0
        self.image_hw: tuple[int, int] | None = None
        self.stages: list[float] = []
        self.code, self.total_s = "", 0.0
        self.failure: Failure | None = None
        self.frames: Frames | None = None

    @property
    def is_frame(self) -> bool:
        """Whether it is one request of a stream."""
        return self.arrival.stream is not None

    def answered(self, stages: Sequence[float], image_hw: tuple[int, int]) -> None:
        """One image has got its result; ``stages`` are its seconds, in the order of ``STAGES``."""
        self.images += 1
        self.image_hw = image_hw
        self._spent(stages)

    def inferred(self, queue_s: float, inference_s: float) -> None:
        """Tensors have got their result."""
        spent = [0.0] * len(STAGES)
        spent[_QUEUE], spent[_INFERENCE] = queue_s, inference_s
        self._spent(spent)

    def include(self, frame: Trail) -> None:
        """Count a request of the stream that this is the trail of."""
        assert self.frames is not None, "a stream's trail has frames"
        self.frames.codes[frame.code] += 1
        self.model, self.version = self.model or frame.model, self.version or frame.version
        self.bytes_in += frame.bytes_in
        self.images += frame.images
        self.image_hw = frame.image_hw or self.image_hw
        if frame.stages:
            self._spent(frame.stages)

    def end(self, code: str, failure: Failure | None = None) -> None:
        """It ends now."""
        self.code, self.failure = code, failure
        self.total_s = time.monotonic() - self.start

    def _spent(self, seconds: Sequence[float]) -> None:
        self.stages = [sum(pair) for pair in zip(self.stages, seconds, strict=True)] if self.stages else list(seconds)


_arrival: ContextVar[Arrival] = ContextVar("arrival")
_trail: ContextVar[Trail | None] = ContextVar("trail", default=None)


def arrive(arrival: Arrival) -> None:
    """From here on the running task, and what it starts, answers this call."""
    _arrival.set(arrival)


def current_arrival() -> Arrival:
    """The call that is answered; one of its own where no transport has told of any."""
    return _arrival.get(None) or Arrival("", "", fresh_id())


def follow(trail: Trail) -> None:
    """From here on the running task, and what it starts, answers this request."""
    _trail.set(trail)


def current_trail() -> Trail | None:
    """The request that is answered; ``None`` outside of any."""
    return _trail.get()


def received(size: int) -> None:
    """Count bytes that came with the request that is answered."""
    trail = _trail.get()
    if trail is not None:
        trail.bytes_in += size


def dropped() -> None:
    """Count a request of the running stream that was dropped for a newer one."""
    stream = current_arrival().stream
    if stream is not None and stream.frames is not None:
        stream.frames.dropped += 1
