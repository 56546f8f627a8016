"""What counts for one method or one model version: children bound once, since a look-up costs more than a count."""

from __future__ import annotations

import time
from collections.abc import Callable

from serving.families import STAGES, Families
from serving.tallies import Count

Infos = dict[tuple[str, str], tuple[str, str, str]]
"""By name and version what ``model_info`` shows of it: task, SHA-256, provider."""
_FAULT = "INTERNAL"
OF_FILES, OF_LOAD, OF_CARD = "files", "load", "gpu"
_STAGE_QUEUE, _STAGE_INFERENCE = STAGES.index("queue"), STAGES.index("inference")


class CallMeter:
    """Counts the answers of one method on one model version.

    Attributes:
        answered: without an error.
        answered_s: seconds of those, in sum.
        last_answer: seconds since 1970 at the last of those; 0 before the first.
        failed: with an error.
        failed_s: seconds of those, in sum.
    """

    def __init__(self, families: Families, model: str, version: str, method: str) -> None:
        self.answered, self.answered_s, self.last_answer = 0, 0.0, 0.0
        self.failed, self.failed_s = 0, 0.0
        self._families, self._labels, self._method = families, (model, version), method
        self._by_code: dict[str, Count] = {}
        self._seconds = families.request_seconds.labels(model, version, method)
        self._cancelled = families.cancelled.labels(model, version)
        self._by_code[_FAULT] = families.requests.labels(model, version, method, _FAULT)  # from 0 on, as for models

    def done(self, code: str, seconds: float) -> None:
        """Count one answer with the name of its gRPC code."""
        count = self._by_code.get(code)
        if count is None:
            count = self._by_code[code] = self._families.requests.labels(*self._labels, self._method, code)
        count.inc()
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
        self._families.rejected.labels(*self._labels, reason).inc()


class ModelMeter:
    """Counts what one model version does, and shows what it is."""

    def __init__(self, families: Families, infos: Infos, name: str, version: str) -> None:
        """``infos`` is shared by the meters of all models."""
        self._families, self._infos = families, infos
        self._labels = labels = (name, version)
        self._stages = tuple(families.stage_seconds.labels(name, version, stage) for stage in STAGES)
        self._batch_size = families.batch_size.labels(*labels)
        self._images = families.images.labels(*labels)
        self._inference_seconds = families.inference_seconds.labels(*labels)
        self._wasted_seconds = families.wasted_seconds.labels(*labels)
        self._terminated = families.terminated.labels(*labels)
        self._padding = families.padding.labels(*labels)
        self._ready = families.model_ready.labels(*labels)
        # From 0 on: a series that begins at 1 has not grown, as Prometheus sees it, and no alert would fire.
        families.rollbacks.labels(*labels)
        families.reloads.labels(*labels)
        for result in ("ok", "failed"):
            families.model_loads.labels(*labels, result)
        for result in ("passed", "late", "failed"):
            families.golden_checks.labels(*labels, result)

    def stages(self, *seconds: float) -> None:
        """Observe one image's seconds, in the order of ``STAGES``."""
        for child, value in zip(self._stages, seconds, strict=True):
            child.observe(value)
        self._images.inc()

    def inferred(self, rows: int, queue_s: float, inference_s: float) -> None:
        """Observe the rows of one request that brought tensors: their seconds in ``queue`` and ``inference``."""
        self._stages[_STAGE_QUEUE].observe(queue_s)
        self._stages[_STAGE_INFERENCE].observe(inference_s)
        self._images.inc(rows)

    def ran(self, rows: int, seconds: float, *, wasted_s: float, terminated: bool, padding: int) -> None:
        """Observe one run; see ``serving.batcher.RunMeter``."""
        self._batch_size.observe(rows)
        self._inference_seconds.inc(seconds)
        if wasted_s:
            self._wasted_seconds.inc(wasted_s)
        if terminated:
            self._terminated.inc()
        if padding:
            self._padding.inc(padding)

    def ready(self, *, is_ready: bool) -> None:
        """Set whether the model answers."""
        self._ready.set(is_ready)

    def watch(
        self, *, queue_depth: Callable[[], float], inflight: Callable[[], float], queue_bytes: Callable[[], float]
    ) -> None:
        """Read the gauges from the live objects at each scrape."""
        self._families.queue_depth.labels(*self._labels).set_function(queue_depth)
        self._families.inflight.labels(*self._labels).set_function(inflight)
        self._families.queue_bytes.labels(*self._labels).set_function(queue_bytes)

    def info(self, *, task: str, sha256: str, provider: str) -> None:
        """Say what was loaded, in the place of what was loaded under this name and version before."""
        if before := self._infos.get(self._labels):
            self._families.model_info.remove(*self._labels, *before)
        self._infos[self._labels] = task, sha256, provider
        self._families.model_info.labels(*self._labels, task, sha256, provider).set(1)

    def memory(self, *, file_bytes: int, grown_bytes: int | None, card_bytes: int | None) -> None:
        """Say what the version holds in memory.

        Args:
            file_bytes: of its graph files, a least: weights are held at least once.
            grown_bytes: by which the process grew while it alone was loaded; ``None`` where that was not to be told.
            card_bytes: of the card's memory that its load took; ``None`` likewise, and on the CPU.
        """
        self._families.model_memory.labels(*self._labels, OF_FILES).set(file_bytes)
        if grown_bytes is not None:
            self._families.model_memory.labels(*self._labels, OF_LOAD).set(max(0, grown_bytes))
        if card_bytes is not None:
            self._families.model_memory.labels(*self._labels, OF_CARD).set(card_bytes)

    def leaked(self, threads: int) -> None:
        """Count threads that a run never gave back."""
        self._families.leaked_threads.labels(*self._labels).inc(threads)

    def reloaded(self) -> None:
        """Count that this version took the place of one that was loaded."""
        self._families.reloads.labels(*self._labels).inc()

    def rolled_back(self) -> None:
        """Count one rollback of this version."""
        self._families.rollbacks.labels(*self._labels).inc()

    def canary(self, row_s: float) -> None:
        """Say how long a row of a golden replay took."""
        self._families.canary_seconds.labels(*self._labels).set(row_s)

    def loaded(self, result: str, seconds: float) -> None:
        """Count one load, ``ok`` or ``failed``."""
        self._families.model_loads.labels(*self._labels, result).inc()
        self._families.load_seconds.labels(*self._labels).observe(seconds)

    def golden(self, result: str) -> None:
        """Count one golden replay: ``passed``, ``late`` where it was right and too slow, ``failed``."""
        self._families.golden_checks.labels(*self._labels, result).inc()


def forget(families: Families, infos: Infos, name: str, version: str) -> None:
    """Show a version no more as one that is loaded; its counters stay."""
    labels = (name, version)
    for gauge in (
        families.queue_depth,
        families.queue_bytes,
        families.inflight,
        families.model_ready,
        families.canary_seconds,
    ):
        gauge.remove(*labels)
    for source in (OF_FILES, OF_LOAD, OF_CARD):
        families.model_memory.remove(*labels, source)
    if info := infos.pop(labels, None):
        families.model_info.remove(*labels, *info)
