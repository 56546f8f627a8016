"""Figures of a load: one round's, and the medians of several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean, median
from typing import Any

from serving.bench.floor import Floor
from serving.bench.outcome import OK, PERCENTS, Outcome
from serving.bench.scrape import Scrape

NAN = math.nan


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one load came to. Seconds and counts by second; NaN where something was not measured.

    Attributes:
        load: in words, such as ``8 concurrent``.
        codes: answers by code, of all rounds.
        rate: results by second.
        p50_s: of the latency of results; so the others.
        p90_s: see ``p50_s``.
        p95_s: see ``p50_s``.
        p99_s: see ``p50_s``.
        late_s: 99th percentile of how much later than due the generator sent; NaN in a closed loop.
        generator_cores: that the generator kept busy.
        server_cores: that the server kept busy.
        server_cpu_s: processor time of the server for one row that got a result.
        rows_per_run: mean size of the server's batches.
        wasted: part of the inference seconds whose rows nobody waited for.
        rate_ratio: ``rate`` against the floor's, measured right before and after; so the other two.
        cpu_ratio: ``server_cpu_s`` against the processor time of an image of the floor.
        added_s: ``p50_s`` beyond that of one image of the floor alone.
    """

    load: str
    codes: Mapping[str, int]
    rate: float
    p50_s: float
    p90_s: float
    p95_s: float
    p99_s: float
    late_s: float = NAN
    generator_cores: float
    server_cores: float = NAN
    server_cpu_s: float = NAN
    rows_per_run: float = NAN
    wasted: float = NAN
    rate_ratio: float = NAN
    cpu_ratio: float = NAN
    added_s: float = NAN

    @property
    def failed(self) -> int:
        """Requests that got no result."""
        return sum(self.codes.values()) - self.codes.get(OK, 0)


def figures_of(load: str, outcome: Outcome, server: Scrape | None) -> Figures:
    """Figures of one round; ``server`` is the growth of its counters, ``None`` where they could not be read."""
    p50, p90, p95, p99 = (outcome.percentile_s(percent) for percent in PERCENTS)
    late = float(sorted(outcome.late_s)[int(0.99 * (len(outcome.late_s) - 1))]) if len(outcome.late_s) else NAN
    own: dict[str, float] = {}
    if server is not None:
        own = {
            "server_cores": server.cpu_s / outcome.seconds,
            "server_cpu_s": _ratio(server.cpu_s, server.images),
            "rows_per_run": _ratio(server.images, server.runs),
            "wasted": _ratio(server.wasted_s, server.inference_s),
        }
    return Figures(
        load=load,
        codes=outcome.codes,
        rate=outcome.rate,
        p50_s=p50,
        p90_s=p90,
        p95_s=p95,
        p99_s=p99,
        late_s=late,
        generator_cores=outcome.generator_cores,
        **own,
    )


def beside(figures: Figures, floors: Sequence[Floor]) -> Figures:
    """Figures of one round with their ratios to the mean of the floors around it."""
    return replace(
        figures,
        rate_ratio=figures.rate / fmean(one.rate for one in floors),
        cpu_ratio=figures.server_cpu_s / fmean(one.cpu_s for one in floors),
        added_s=figures.p50_s - fmean(one.p50_s for one in floors),
    )


def medians(rounds: Sequence[Figures]) -> Figures:
    """Each figure's median over rounds of one load, without those that were not measured; codes are summed."""
    codes: Counter[str] = Counter()
    for one in rounds:
        codes.update(one.codes)
    middle: dict[str, Any] = {}
    for field in fields(Figures):
        if field.name not in ("load", "codes"):
            values = [value for one in rounds if not math.isnan(value := getattr(one, field.name))]
            middle[field.name] = median(values) if values else NAN
    return Figures(load=rounds[0].load, codes=dict(codes), **middle)


def to_json(figures: Figures) -> dict[str, Any]:
    """Plain values; null for what was not measured."""
    values = {field.name: getattr(figures, field.name) for field in fields(figures)}
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()
    } | {"codes": dict(figures.codes)}


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else NAN
