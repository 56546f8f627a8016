"""Every metric of the server, on one registry of its own; label values are bounded by what is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

STAGES = ("decode", "preprocess", "queue", "inference", "postprocess", "serialize")
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Metrics:
    """The metric families and the registry that holds them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "ocella_requests_total", "Requests answered, by gRPC code.", (*_MODEL, "method", "code"), registry=registry
        )
        self._request_seconds = Histogram(
            "ocella_request_duration_seconds",
            "From a request's arrival to its answer.",
            (*_MODEL, "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "ocella_stage_duration_seconds", "By stage.", (*_MODEL, "stage"), buckets=SECONDS, registry=registry
        )
        self._batch_size = Histogram(
            "ocella_batch_size_images", "Images in one run.", _MODEL, buckets=IMAGES, registry=registry
        )
        self._queue_depth = Gauge("ocella_queue_depth", "Rows that wait for a run.", _MODEL, registry=registry)
        self._inflight = Gauge("ocella_inflight_requests", "Requests inside the server.", _MODEL, registry=registry)
        self._images = Counter("ocella_images_total", "Images that got a result.", _MODEL, registry=registry)
        self._rejected = Counter(
            "ocella_rejected_total", "Requests refused unseen.", (*_MODEL, "reason"), registry=registry
        )
        self._cancelled = Counter(
            "ocella_cancelled_total", "Requests that their client left.", _MODEL, registry=registry
        )
        self._terminated = Counter(
            "ocella_terminated_runs_total", "Runs ended because nobody waited for them.", _MODEL, registry=registry
        )
        self._inference_seconds = Counter(
            "ocella_inference_seconds_total", "Seconds that runs took.", _MODEL, registry=registry
        )
        self._wasted_seconds = Counter(
            "ocella_wasted_inference_seconds_total",
            "Seconds that runs took, by the share of their rows that nobody waited for at their end.",
            _MODEL,
            registry=registry,
        )
        self._stream_frames = Counter(
            "ocella_stream_frames_total", "Requests of streams, by outcome.", ("outcome",), registry=registry
        )
        self.streams_active = Gauge("ocella_streams_active", "Open streams.", registry=registry)
        self._model_ready = Gauge("ocella_model_ready", "1 where the model answers.", _MODEL, registry=registry)
        self._model_info = Gauge(
            "ocella_model_info", "1 for each loaded model.", (*_MODEL, "task", "sha256", "provider"), registry=registry
        )
        self._model_loads = Counter(
            "ocella_model_loads_total", "Loads, by result.", (*_MODEL, "result"), registry=registry
        )
        self._load_seconds = Histogram(
            "ocella_model_load_duration_seconds",
            "From files to a model that passed its golden replay.",
            _MODEL,
            buckets=SECONDS,
            registry=registry,
        )
        self._golden_checks = Counter(
            "ocella_golden_checks_total", "Golden replays, by result.", (*_MODEL, "result"), registry=registry
        )
        self._leaked_threads = Gauge(
            "ocella_leaked_threads", "Threads inside runs that never ended.", _MODEL, registry=registry
        )
        self._rollbacks = Counter(
            "ocella_model_rollbacks_total", "Versions taken back after a reload.", _MODEL, registry=registry
        )
        self._canary_seconds = Gauge(
            "ocella_canary_row_seconds", "Fastest row of the latest golden replay.", _MODEL, registry=registry
        )
        self._infos: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.frames_answered = self._stream_frames.labels("answered")
        self.frames_failed = self._stream_frames.labels("failed")
        self.frames_dropped = self._stream_frames.labels("dropped")
        self.call_meters: dict[tuple[str, str, str], CallMeter] = {}

    def model(self, name: str, version: int) -> ModelMeter:
        """The children of one model version."""
        return ModelMeter(self, name, str(version))

    def call(self, model: str, version: str, method: str) -> CallMeter:
        """The children of one method on one model version, made once."""
        key = (model, version, method)
        if key not in self.call_meters:
            self.call_meters[key] = CallMeter(self, *key)
        return self.call_meters[key]


class CallMeter:
    """Counts the answers of one method on one model version.

    Attributes:
        answered: without an error.
        answered_s: seconds of those, in sum.
        last_answer: seconds since 1970 at the last of those; 0 before the first.
        failed: with an error.
        failed_s: seconds of those, in sum.
    """

    def __init__(self, metrics: Metrics, model: str, version: str, method: str) -> None:
        self.answered, self.answered_s, self.last_answer = 0, 0.0, 0.0
        self.failed, self.failed_s = 0, 0.0
        self._metrics, self._labels = metrics, (model, version)
        self._method = method
        self._by_code: dict[str, Counter] = {}
        self._seconds = metrics._request_seconds.labels(model, version, method)
        self._cancelled = metrics._cancelled.labels(model, version)

    def done(self, code: str, seconds: float) -> None:
        """Count one answer with the name of its gRPC code."""
        if code not in self._by_code:
            self._by_code[code] = self._metrics._requests.labels(*self._labels, self._method, code)
        self._by_code[code].inc()
        self._seconds.observe(seconds)
        if code == "OK":
            self.answered += 1
            self.answered_s += seconds
            self.last_answer = time.time()
        else:
            self.failed += 1
            self.failed_s += seconds

    def cancelled(self) -> None:
        """Count one request that its client left."""
        self._cancelled.inc()

    def rejected(self, reason: str) -> None:
        """Count one request that was refused unseen; ``reason`` is one of a fixed few."""
        self._metrics._rejected.labels(*self._labels, reason).inc()


class ModelMeter:
    """The bound children of one model version; a label look-up a request would cost more than the count."""

    def __init__(self, metrics: Metrics, name: str, version: str) -> None:
        self._metrics = metrics
        self._labels = labels = (name, version)
        self._stages = tuple(metrics._stage_seconds.labels(*labels, stage) for stage in STAGES)
        self._batch_size = metrics._batch_size.labels(*labels)
        self._images = metrics._images.labels(*labels)
        self._inference_seconds = metrics._inference_seconds.labels(*labels)
        self._wasted_seconds = metrics._wasted_seconds.labels(*labels)
        self._terminated = metrics._terminated.labels(*labels)
        self._ready = metrics._model_ready.labels(*labels)

    def stages(self, *seconds: float) -> None:
        """Observe one image's seconds, in the order of ``STAGES``."""
        for child, value in zip(self._stages, seconds, strict=True):
            child.observe(value)
        self._images.inc()

    def inferred(self, rows: int, queue_s: float, inference_s: float) -> None:
        """Observe the rows of one request that brought tensors: their seconds in ``queue`` and ``inference``."""
        self._stages[2].observe(queue_s)
        self._stages[3].observe(inference_s)
        self._images.inc(rows)

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool) -> None:
        """Observe one run; ``wasted_s`` are its seconds by the share of its rows that nobody waits for any more."""
        self._batch_size.observe(rows)
        self._inference_seconds.inc(seconds)
        if wasted_s:
            self._wasted_seconds.inc(wasted_s)
        if terminated:
            self._terminated.inc()

    def ready(self, *, is_ready: bool) -> None:
        """Set whether the model answers."""
        self._ready.set(is_ready)

    def watch(self, *, queue_depth: Callable[[], float], inflight: Callable[[], float]) -> None:
        """Read the gauges from the live objects at each scrape."""
        self._metrics._queue_depth.labels(*self._labels).set_function(queue_depth)
        self._metrics._inflight.labels(*self._labels).set_function(inflight)

    def info(self, *, task: str, sha256: str, provider: str) -> None:
        """Say what was loaded, in the place of what was loaded under this name and version before."""
        metrics, labels = self._metrics, self._labels
        if before := metrics._infos.get(labels):
            metrics._model_info.remove(*labels, *before)
        metrics._infos[labels] = task, sha256, provider
        metrics._model_info.labels(*labels, task, sha256, provider).set(1)

    def forget(self) -> None:
        """Show the version no more as one that is loaded; its counters stay."""
        metrics, labels = self._metrics, self._labels
        for gauge in (metrics._queue_depth, metrics._inflight, metrics._model_ready, metrics._canary_seconds):
            gauge.remove(*labels)
        metrics._model_info.remove(*labels, *metrics._infos.pop(labels))

    def leaked(self, threads: int) -> None:
        """Count threads that a run never gave back."""
        self._metrics._leaked_threads.labels(*self._labels).inc(threads)

    def rolled_back(self) -> None:
        """Count one rollback of this version."""
        self._metrics._rollbacks.labels(*self._labels).inc()

    def canary(self, row_s: float) -> None:
        """Say how long a row of a golden replay took."""
        self._metrics._canary_seconds.labels(*self._labels).set(row_s)

    def loaded(self, result: str, seconds: float) -> None:
        """Count one load, ``ok`` or ``failed``."""
        self._metrics._model_loads.labels(*self._labels, result).inc()
        self._metrics._load_seconds.labels(*self._labels).observe(seconds)

    def golden(self, result: str) -> None:
        """Count one golden replay, ``passed`` or ``failed``."""
        self._metrics._golden_checks.labels(*self._labels, result).inc()
