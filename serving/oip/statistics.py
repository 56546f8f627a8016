"""What models have done since the start, in the protocol's words: read from the metrics, which count it already."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from serving.metrics import Metrics
from serving.oip.documents import Document

# Each duration of the protocol and the stages that make it up.
DURATIONS: Mapping[str, tuple[str, ...]] = {
    "queue": ("queue",),
    "compute_input": ("decode", "preprocess"),
    "compute_infer": ("inference",),
    "compute_output": ("postprocess", "serialize"),
}
# Methods that name a model and do not run it.
_ONLY_ASK = frozenset({"DescribeModel"})
_STAGES = "ocella_stage_duration_seconds"
_RUNS = "ocella_batch_size_images"
_NONE = {"count": 0, "ns": 0}


def model_statistics(metrics: Metrics, models: Iterable[tuple[str, int]]) -> list[Document]:
    """Statistics of model versions, over every transport."""
    sums = _sums(metrics)
    return [_of_model(metrics, sums, name, str(version)) for name, version in models]


def _of_model(metrics: Metrics, sums: Mapping[tuple[str, ...], float], name: str, version: str) -> Document:
    meters = [
        meter
        for (model, of, method), meter in metrics.call_meters.items()
        if (model, of) == (name, version) and method not in _ONLY_ASK
    ]
    stats: Document = {
        "success": _duration(sum(m.answered for m in meters), sum(m.answered_s for m in meters)),
        "fail": _duration(sum(m.failed for m in meters), sum(m.failed_s for m in meters)),
        "cache_hit": _NONE,
        "cache_miss": _NONE,
    }
    # One count for all: perf_analyzer refuses compute counts that differ, and tensors pass no stage but the run.
    count = max(sums[f"{_STAGES}_count", name, version, stage] for stages in DURATIONS.values() for stage in stages)
    for duration, stages in DURATIONS.items():
        stats[duration] = _duration(count, sum(sums[f"{_STAGES}_sum", name, version, stage] for stage in stages))
    return {
        "name": name,
        "version": version,
        "last_inference": round(1000 * max((m.last_answer for m in meters), default=0)),
        "inference_count": int(sums[f"{_RUNS}_sum", name, version]),
        "execution_count": int(sums[f"{_RUNS}_count", name, version]),
        "inference_stats": stats,
    }


def _sums(metrics: Metrics) -> Mapping[tuple[str, ...], float]:
    """The histograms' sums and counts by sample name, model, version and stage; 0 where nothing was seen."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    names = [f"{family}_{kind}" for family in (_STAGES, _RUNS) for kind in ("sum", "count")]
    for family in metrics.registry.restricted_registry(names).collect():
        for sample in family.samples:
            stage = [sample.labels["stage"]] if "stage" in sample.labels else []
            sums[sample.name, sample.labels["model"], sample.labels["version"], *stage] += sample.value
    return sums


def _duration(count: float, seconds: float) -> dict[str, Any]:
    return {"count": int(count), "ns": round(seconds * 1e9)}
