"""What a server says of itself: processor time and counters from its ``/metrics``."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from pipelines.errors import ServiceUnavailableError

_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Scrape:
    """Counters of a server at one moment, or the growth between two; sums over all models and versions.

    Attributes:
        cpu_s: processor time of the server.
        resident_bytes: its memory; of a growth: the growth.
        images: rows that got a result.
        inference_s: seconds that runs took.
        wasted_s: of those, by the share of rows that nobody waited for.
        runs: how often a graph ran.
        codes: requests by the name of their gRPC code.
    """

    cpu_s: float
    resident_bytes: float
    images: float
    inference_s: float
    wasted_s: float
    runs: float
    codes: Mapping[str, float]

    def since(self, before: Scrape) -> Scrape:
        """The growth since ``before``."""
        codes = {code: count - before.codes.get(code, 0.0) for code, count in self.codes.items()}
        return Scrape(
            cpu_s=self.cpu_s - before.cpu_s,
            resident_bytes=self.resident_bytes - before.resident_bytes,
            images=self.images - before.images,
            inference_s=self.inference_s - before.inference_s,
            wasted_s=self.wasted_s - before.wasted_s,
            runs=self.runs - before.runs,
            codes={code: count for code, count in codes.items() if count},
        )


def scrape(http: str) -> Scrape:
    """Read ``http://<host:port>/metrics``; raises ServiceUnavailableError where nobody answers there."""
    url = f"http://{http}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ServiceUnavailableError(f"{url} must answer with the server's metrics: {reason}") from error
    return read_scrape(text)


def read_scrape(text: str) -> Scrape:
    """Read metrics in Prometheus's text format."""
    sums: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += sample.value  # type: ignore[assignment]  # typeshed's Counter counts whole numbers
            if sample.name == "ocella_requests_total":
                codes[sample.labels["code"]] += sample.value  # type: ignore[assignment]
    return Scrape(
        cpu_s=sums["process_cpu_seconds_total"],
        resident_bytes=sums["process_resident_memory_bytes"],
        images=sums["ocella_images_total"],
        inference_s=sums["ocella_inference_seconds_total"],
        wasted_s=sums["ocella_wasted_inference_seconds_total"],
        runs=sums["ocella_batch_size_images_count"],
        codes={code: count for code, count in codes.items() if count},  # some series are there from the start
    )
