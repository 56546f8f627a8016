"""What probes and scrapes are told of one process, and of several as if they were one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from serving.gpus import GAUGES, INFO

# Series that are not the sum of what the processes say: the least or the largest of them is true for all. Each process
# sees the same GPUs, and has a limit of open files of its own, so the one that is nearest to it counts.
LEAST = frozenset({"ocella_model_ready", "process_start_time_seconds"})
LARGEST = frozenset(
    {
        "ocella_build_info",
        "ocella_canary_row_seconds",
        "ocella_model_info",
        "process_max_fds",
        "process_open_fds",
        "python_info",
        INFO,
        *(gauge.name for gauge in GAUGES),
    }
)
_LASTING = frozenset({"counter", "histogram"})
Series = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One process, or all of them.

    Attributes:
        alive: it need not be restarted.
        ready: it answers.
        models_ready: model versions that answer.
        models_not_ready: known model versions that do not.
        metrics: in Prometheus' text format; empty where they were not asked for.
    """

    alive: bool
    ready: bool
    models_ready: int
    models_not_ready: int
    metrics: str

    def to_json(self) -> bytes:
        """As it travels between processes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """The inverse of ``to_json``; raises ValueError for anything else."""
        return cls(**json.loads(data))


def join(snapshots: Sequence[Snapshot], *, processes: int, gone: Iterable[str] = ()) -> Snapshot:
    """All processes as one: ready when all of ``processes`` are, a model ready where it is in each.

    ``gone``: the last metrics of processes that ended, whose counts must not be lost.
    """
    return Snapshot(
        alive=all(one.alive for one in snapshots),
        ready=len(snapshots) == processes and all(one.ready for one in snapshots),
        models_ready=min((one.models_ready for one in snapshots), default=0),
        models_not_ready=max((one.models_not_ready for one in snapshots), default=0),
        metrics=join_metrics([one.metrics for one in snapshots], gone=gone),
    )


def join_metrics(texts: Iterable[str], *, gone: Iterable[str] = ()) -> str:
    """Add series of the same name and labels; of ``gone`` only counters and histograms."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[Series, float]] = {}
    for text, lasting in [*((text, False) for text in texts), *((text, True) for text in gone)]:
        for family in text_string_to_metric_families(text):
            if family.name.endswith("_created") or (lasting and family.type not in _LASTING):
                continue
            families.setdefault(family.name, family)
            joined = values.setdefault(family.name, {})
            for sample in family.samples:
                series = (sample.name, tuple(sorted(sample.labels.items())))
                joined[series] = _joined(sample.name, joined.get(series), sample.value)
    return generate_latest(_registry(families, values)).decode()


def _joined(name: str, before: float | None, value: float) -> float:
    if before is None:
        return value
    if name in LEAST:
        return min(before, value)
    return max(before, value) if name in LARGEST else before + value


def _registry(families: dict[str, Metric], values: dict[str, dict[Series, float]]) -> CollectorRegistry:
    class Joined(Collector):
        def collect(self) -> Iterable[Metric]:
            for name, family in families.items():
                metric = Metric(name, family.documentation, family.type)
                for (sample, labels), value in values[name].items():
                    metric.add_sample(sample, dict(labels), value)
                yield metric

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Joined())
    return registry
