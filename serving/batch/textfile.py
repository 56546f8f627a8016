"""A job's figures as a file for the node exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from serving.batch.tally import Tally


class JobMetrics:
    """Writes ``ocella_batch_*`` of one job, labelled by model and shard."""

    def __init__(self, path: Path, tally: Tally, *, model: str, shard: str) -> None:
        self._path, self._tally = path, tally
        self._labels = (model, shard)
        self._complete = False
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def write(self, *, complete: bool = False) -> None:
        """Write the file anew, whole or not at all; raises OSError."""
        self._complete = complete
        write_to_textfile(str(self._path), self._registry)

    def collect(self) -> Iterator[Metric]:
        """The figures now; gauges, since a run begins at what earlier runs left."""
        images = GaugeMetricFamily(
            "ocella_batch_images", "Images that have a row, by outcome.", labels=("model", "shard", "outcome")
        )
        images.add_metric([*self._labels, "ok"], self._tally.ok)
        images.add_metric([*self._labels, "failed"], self._tally.failed)
        yield images
        complete = GaugeMetricFamily(
            "ocella_batch_complete", "1 where every output is in place.", labels=("model", "shard")
        )
        complete.add_metric(self._labels, float(self._complete))
        yield complete
