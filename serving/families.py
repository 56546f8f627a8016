"""Every metric family of the server, on one registry of its own; label values are bounded by what is on disk."""

from __future__ import annotations

from functools import partial
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import Histogram as LockedHistogram

from serving.tallies import CountFamily, SpreadFamily

STAGES = ("decode", "preprocess", "queue", "inference", "postprocess", "serialize")
SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A load takes from a tenth of a second to minutes; the default time limit is 600 s.
LOAD_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
_MODEL = ("model", "version")


class Families:
    """The families; those that each request counts in are ``Tallies``, which the event loop's thread alone may count.

    Attributes:
        registry: holds them, and what Python and the system say of the process.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests(registry)
        self._runs(registry)
        self._models(registry)
        Gauge("ocella_processes", "Server processes that answer this scrape together.", registry=registry).set(1)
        CountFamily(
            "ocella_process_restarts_total",
            "Processes of --processes that ended and were started again.",
            (),
            registry=registry,
        ).labels()  # the supervisor adds what it counts
        build = Gauge("ocella_build_info", "1, with the version of Ocella.", ("release",), registry=registry)
        build.labels(_release()).set(1)

    def _requests(self, registry: CollectorRegistry) -> None:
        """What comes from clients."""
        count, gauge = partial(CountFamily, registry=registry), partial(Gauge, registry=registry)
        spread = partial(SpreadFamily, registry=registry, buckets=SECONDS)
        self.requests = count("ocella_requests_total", "Requests answered, by gRPC code.", (*_MODEL, "method", "code"))
        self.request_seconds = spread(
            "ocella_request_duration_seconds", "From a request's arrival to its answer.", (*_MODEL, "method")
        )
        self.stage_seconds = spread("ocella_stage_duration_seconds", "Time of one image, by stage.", (*_MODEL, "stage"))
        self.images = count("ocella_images_total", "Images that got a result.", _MODEL)
        self.rejected = count("ocella_rejected_total", "Requests refused unseen, by reason.", (*_MODEL, "reason"))
        self.cancelled = count("ocella_cancelled_total", "Requests that their client left.", _MODEL)
        self.inflight = gauge("ocella_inflight_requests", "Rows inside the server.", _MODEL)
        self.queue_depth = gauge("ocella_queue_depth", "Rows that wait for a run.", _MODEL)
        self.queue_bytes = gauge("ocella_queue_bytes", "Encoded images and tensors inside the server.", _MODEL)
        self.stream_frames = count("ocella_stream_frames_total", "Requests of streams, by outcome.", ("outcome",))
        self.streams_active = gauge("ocella_streams_active", "Open streams.")

    def _runs(self, registry: CollectorRegistry) -> None:
        """What the graphs do."""
        count, gauge = partial(CountFamily, registry=registry), partial(Gauge, registry=registry)
        self.batch_size = SpreadFamily(
            "ocella_batch_size_images", "Images in one run.", _MODEL, buckets=IMAGES, registry=registry
        )
        self.inference_seconds = count("ocella_inference_seconds_total", "Seconds that runs took.", _MODEL)
        self.wasted_seconds = count(
            "ocella_wasted_inference_seconds_total",
            "Seconds that runs took, by the share of their rows that nobody waited for at their end.",
            _MODEL,
        )
        self.terminated = count("ocella_terminated_runs_total", "Runs ended because nobody waited for them.", _MODEL)
        self.padding = count(
            "ocella_padded_rows_total", "Rows that runs computed beside those of requests: on CUDA alone.", _MODEL
        )
        self.leaked_threads = gauge("ocella_leaked_threads", "Threads inside runs that never ended.", _MODEL)

    def _models(self, registry: CollectorRegistry) -> None:
        """Which models there are, and what became of their loads."""
        count, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.model_ready = gauge("ocella_model_ready", "1 where the model answers, else 0.", _MODEL)
        self.model_info = gauge(
            "ocella_model_info", "1 for each loaded model.", (*_MODEL, "task", "sha256", "provider")
        )
        self.model_memory = gauge(
            "ocella_model_memory_bytes",
            "Memory of a model: of its graph files, and what its load, where alone, took of the machine and the card.",
            (*_MODEL, "source"),
        )
        self.model_loads = count("ocella_model_loads_total", "Loads, by result.", (*_MODEL, "result"))
        self.load_seconds = LockedHistogram(
            "ocella_model_load_duration_seconds",
            "From files to a model that passed its golden replay.",
            _MODEL,
            buckets=LOAD_SECONDS,
            registry=registry,
        )
        self.golden_checks = count("ocella_golden_checks_total", "Golden replays, by result.", (*_MODEL, "result"))
        self.canary_seconds = gauge("ocella_canary_row_seconds", "Fastest row of the latest golden replay.", _MODEL)
        self.reloads = count(
            "ocella_model_reloads_total", "Times that a version took the place of one that was loaded.", _MODEL
        )
        self.rollbacks = count("ocella_model_rollbacks_total", "Versions taken back after a reload.", _MODEL)


def _release() -> str:
    try:
        return version("ocella")
    except PackageNotFoundError:  # run from a source folder that nobody installed
        return "unknown"
